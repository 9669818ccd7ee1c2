"""Protocols that are allowed by name, through fsspec, in ranges like any other store."""

from __future__ import annotations

from paipa_etl.sources import ReadStore, register
from paipa_etl.sources.remote import expand, pieces, stat
from paipa_etl.stores.protocols import ALLOWED

register(ReadStore(ALLOWED, pieces, stat, expand))
