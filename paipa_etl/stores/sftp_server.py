"""One connection to an SFTP server, with the event loop that serves it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from paipa_etl.errors import MissingDependency, PlanError
from paipa_etl.location import Location
from paipa_etl.stores import CONNECT_TIMEOUT, StoreOptions
from paipa_etl.stores.failures import transport
from paipa_etl.stores.pace import ended
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.secrets import guard
from paipa_etl.threads.event_loop import EventLoop
from paipa_etl.threads.stop import Stopped

LOGIN_WORDS = frozenset(
    {"username", "password", "port", "key_filename", "passphrase", "known_hosts"}
)
T = TypeVar("T")


class Login:
    """Where to connect, and as whom: what a URL and paramiko's words for it say."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.words = words
        guard(words.get("password"), words.get("passphrase"))
        self.key = tuple(sorted((name, str(value)) for name, value in words.items()))

    @classmethod
    def of(cls, location: Location, options: StoreOptions) -> Login:
        """The login for a location."""
        given = dict(options.word("connect_kwargs", None) or {})
        if strange := set(given) - LOGIN_WORDS:
            known = ", ".join(sorted(LOGIN_WORDS))
            problem = f"connect_kwargs that nobody knows: {', '.join(sorted(strange))}"
            raise PlanError(f"{location}: {problem}; known: {known}")
        user, at, host = urlsplit(location.target).netloc.rpartition("@")
        name, _, password = user.partition(":") if at else ("", "", "")
        parts = urlsplit(f"sftp://{host}")
        words: dict[str, Any] = {"host": parts.hostname or "localhost"}
        words |= {"port": parts.port} if parts.port else {}
        words |= {"username": unquote(name)} if name else {}
        words |= {"password": unquote(password)} if password else {}
        keys = given.pop("key_filename", None)
        words |= given | ({"client_keys": keys} if keys else {})
        return cls(words | ({"known_hosts": None} if options.insecure else {}))


class Server:
    """One connection to a server, made again when it was lost."""

    def __init__(self, login: Login, timeout: float) -> None:
        self._login, self._timeout = login, timeout
        self._loop = EventLoop()
        self._connection: Any = None
        self._sftp: Any = None
        self._lock: asyncio.Lock | None = None

    def call(self, action: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """What an action on the connection gives; its failure as a store's."""

        async def act() -> T:
            return await action(await self._connected())

        future = self._loop.submit(act())
        try:
            result: T = self._loop.result(future)
            return result
        except CancelledError:
            if ended():
                self._give_up()  # its server trickles
            raise Stopped from None
        except StoreFailure:
            raise
        except Exception as error:
            failure = self._failure(error)
        finally:
            future.cancel()
        raise failure

    async def _connected(self) -> Any:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._sftp is None:
                timeout = min(CONNECT_TIMEOUT, self._timeout)
                self._connection = await library().connect(
                    **self._login.words,
                    connect_timeout=timeout,
                    login_timeout=timeout,
                    keepalive_interval=self._timeout / 2,
                )
                self._sftp = await self._connection.start_sftp_client()
            return self._sftp

    def _failure(self, error: Exception) -> StoreFailure:
        """What went wrong, in words of ours; a lost connection is given up."""
        asyncssh = library()
        known = {
            asyncssh.SFTPNoSuchFile: StoreFailure("there is nothing of that name", kind="missing"),
            asyncssh.SFTPPermissionDenied: StoreFailure("access denied", kind="denied"),
            asyncssh.PermissionDenied: StoreFailure("the server refused the login", kind="denied"),
            asyncssh.HostKeyNotVerifiable: StoreFailure("its host key is not known_hosts'"),
        }
        for kind, failure in known.items():
            if isinstance(error, kind):
                failure.code = _code_of(error)
                return failure
        lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError)
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            self._give_up()
            return StoreFailure(f"silent for {self._timeout:g} seconds", retryable=True)
        if isinstance(error, (*lost, OSError)):
            self._give_up()
            failed = transport(error, self._timeout)
            return failed or StoreFailure("the connection was cut", retryable=True)
        if isinstance(error, asyncssh.SFTPError):
            problem = f"the server refused ({type(error).__name__})"
            return StoreFailure(problem, code=_code_of(error))
        return StoreFailure(f"the request could not be made ({type(error).__name__})")

    def _give_up(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            with suppress(Stopped):
                self._loop.submit(_closed(connection))

    def close(self) -> None:
        """End the connection and its thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                self._loop.submit(_closed(connection, wait=True)).result(1)
        self._loop.close()
        self._loop.join()


def _code_of(error: Exception) -> str:
    """The protocol's name of an SFTP error, such as ``FX_NO_SUCH_FILE``; empty for any other."""
    if not isinstance(error, library().SFTPError):
        return ""
    names = vars(importlib.import_module("asyncssh.constants")).items()
    codes = (name for name, value in names if name.startswith("FX_") and value == error.code)
    return next(codes, "")


async def _closed(connection: Any, wait: bool = False) -> None:
    connection.abort() if not wait else connection.close()
    if wait:
        await connection.wait_closed()


def library() -> Any:
    """asyncssh, where it is installed."""
    try:
        return importlib.import_module("asyncssh")
    except ImportError as error:
        raise MissingDependency("sftp://", "sftp") from error
