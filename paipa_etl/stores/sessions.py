"""Sessions of ``requests`` for GCS and Azure, with the connections of ``connections.py``."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from paipa_etl.stores.connections import POOLS

CONNECTIONS = 128  # that stay open: as many as transfers may run at once


class Adapter(HTTPAdapter):
    """The connections of a session."""

    def init_poolmanager(self, *words: Any, **more: Any) -> None:
        """Make those without a proxy."""
        super().init_poolmanager(*words, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: Any, **words: Any) -> Any:
        """Make those through a proxy."""
        manager = super().proxy_manager_for(proxy, **words)
        manager.pool_classes_by_scheme = POOLS
        return manager


def mount(session: requests.Session) -> None:
    """Have a session use such connections."""
    session.mount("https://", Adapter(pool_maxsize=CONNECTIONS))
    session.mount("http://", Adapter(pool_maxsize=CONNECTIONS))


def session() -> requests.Session:
    """A new session."""
    made = requests.Session()
    mount(made)
    return made
