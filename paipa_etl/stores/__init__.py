"""What a store's source and sink share; opening for reading or writing is not done here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StoreOptions:
    """What is passed through to a remote store: smart_open's words, and fsspec's."""

    transport_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
