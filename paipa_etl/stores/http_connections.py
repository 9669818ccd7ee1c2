"""Connections of urllib3 that look at the address they are made to."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.connections import Connection, SecureConnection
from paipa_etl.stores.link_local import REFUSED, addresses, names_refused
from paipa_etl.stores.port import StoreFailure


class CheckedConnection(Connection):
    """A connection to an address that was looked at: a name is resolved once, and not again."""

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        failure: Exception = StoreFailure(REFUSED)
        try:
            allowed = addresses(host, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise LocationParseError(host) from error
        try:
            for address in allowed:
                self.host = address
                try:
                    return super()._new_conn()
                except (ConnectTimeoutError, NewConnectionError) as error:
                    failure = error
        finally:
            self.host = host  # what certificates are checked for
        raise failure


class CheckedTlsConnection(CheckedConnection, SecureConnection):
    """The same, over TLS."""


class CheckedPool(HTTPConnectionPool):
    """Connections to one host."""

    ConnectionCls = CheckedConnection


class CheckedTlsPool(HTTPSConnectionPool):
    """Connections to one host over TLS."""

    ConnectionCls = CheckedTlsConnection


class CheckedManager(PoolManager):
    """Connections to any host; without a proxy, which would resolve names itself."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.pool_classes_by_scheme = {"http": CheckedPool, "https": CheckedTlsPool}


def checked_adapter() -> Any:
    """The same for a session of requests'."""
    from requests.adapters import HTTPAdapter

    class CheckedAdapter(HTTPAdapter):
        def init_poolmanager(
            self, connections: int, maxsize: int, block: bool = False, **words: Any
        ) -> None:
            super().init_poolmanager(connections, maxsize, block, **words)
            sizes = {"num_pools": connections, "maxsize": maxsize, "block": block}
            self.poolmanager = CheckedManager(**sizes, **words)

    return CheckedAdapter()


def smart_words(
    location: Location, options: StoreOptions, clients: Clients, given: dict[str, Any]
) -> dict[str, Any]:
    """The words of smart_open with a session that follows no redirect, and checks addresses."""
    if "session" in given:
        return given
    if names_refused(urlsplit(location.target).hostname or ""):
        raise PlanError(f"{location}: {REFUSED}")
    import requests

    session = requests.Session()
    session.max_redirects = 0
    session.mount("http://", checked_adapter())
    session.mount("https://", checked_adapter())
    return {**given, "session": session}
