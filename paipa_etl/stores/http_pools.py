"""The connections of HTTP: verified, through the environment's proxies, kept open for a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from paipa_etl.errors import MissingDependency
from paipa_etl.stores import CONNECT_TIMEOUT
from paipa_etl.stores.failures import transport
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.secrets import guard, guard_url

CONNECTIONS = 128  # that stay open: as many as transfers may run at once
SAFE = "!#$%&'()*+,/:;=?@[]~"  # characters of a URL that stay as they are
T = TypeVar("T")


class Pools:
    """The connections of a run: verified, through the environment's proxies, kept open."""

    def __init__(self, insecure: bool, timeout: float) -> None:
        try:
            import urllib3
        except ImportError as error:
            raise MissingDependency("http://", "http") from error
        guard()  # its loggers are there by now
        from paipa_etl.stores.connections import POOLS

        self._urllib3, self._pools = urllib3, POOLS
        self._managers: dict[str, Any] = {}
        self._words: dict[str, Any] = {
            "num_pools": 32,
            "maxsize": CONNECTIONS,
            "timeout": urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout),
            "retries": False,
            "cert_reqs": "CERT_NONE" if insecure else "CERT_REQUIRED",
        }
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def send(self, verb: str, url: str, headers: dict[str, str], body: Any) -> Any:
        """One request; its answer is not read, not decoded and leads nowhere else."""
        return self._manager(url).urlopen(
            verb,
            url,
            headers=headers,
            body=body,
            preload_content=False,
            decode_content=False,
            redirect=False,
        )

    def _manager(self, url: str) -> Any:
        parts = urlsplit(url)
        proxy = "" if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme, "")
        if proxy not in self._managers:
            self._managers[proxy] = self._made(proxy)
        return self._managers[proxy]

    def _made(self, proxy: str) -> Any:
        if not proxy:
            from paipa_etl.stores.http_connections import CheckedManager

            return CheckedManager(**self._words)
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        guard_url(proxy)
        url, user = split_user(proxy)
        login = ":".join(part or "" for part in user) if user else None
        headers = self._urllib3.make_headers(proxy_basic_auth=login) if login else None
        manager = self._urllib3.ProxyManager(url, proxy_headers=headers, **self._words)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()


def told(action: Callable[[], T], timeout: float) -> T:
    """What a call to the library gives; its failure as a store's, without its own text."""
    from urllib3.exceptions import HTTPError, LocationParseError

    try:
        return action()
    except LocationParseError:
        failure = StoreFailure("not a URL")
    except (HTTPError, OSError, ValueError) as error:
        failure = transport(error, timeout) or StoreFailure(type(error).__name__)
    raise failure


def split_user(url: str) -> tuple[str, tuple[str, str | None] | None]:
    """A URL without its user info, quoted where that is needed; and the user info."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    path, query = quote(parts.path, SAFE), quote(parts.query, SAFE)
    plain = urlunsplit((parts.scheme, host, path or "/", query, ""))
    if not at:
        return plain, None
    name, colon, password = user.partition(":")
    return plain, (unquote(name), unquote(password) if colon else None)
