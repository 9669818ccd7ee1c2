"""What reading and writing through smart_open and fsspec share: import, addresses, words."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from paipa_etl.errors import (
    InputError,
    MissingDependency,
    OutputError,
    PaipaError,
    PlanError,
    describe,
)
from paipa_etl.location import Location, user_info
from paipa_etl.stop import Stopped
from paipa_etl.stores import StoreOptions

EXTRAS = {
    "s3": "s3",
    "gs": "gcs",
    "az": "azure",
    "http": "http",
    "https": "http",
    "sftp": "sftp",
}
FSSPEC_ALLOWED = ("memory",)


def open_smart(location: Location, mode: str, options: StoreOptions) -> Any:
    """A file of smart_open's for a URL; the codec is ours, so its own is off."""
    try:
        smart_open = importlib.import_module("smart_open")
        url = location.target
        if location.scheme == "az":  # smart_open knows it by its long name
            url = "azure" + url.removeprefix("az")
        return smart_open.open(
            url, mode, compression="disable", transport_params=dict(options.transport_params)
        )
    except (ImportError, NotImplementedError) as error:
        raise MissingDependency(f"{location.scheme}://", EXTRAS[location.scheme]) from error


def fsspec_of(location: Location, options: StoreOptions) -> tuple[Any, str]:
    """The file system of fsspec's, and the path in it, for a protocol that is allowed."""
    if location.scheme not in FSSPEC_ALLOWED or "::" in location.target:
        raise PlanError(f"the scheme of {location} is not among those that are allowed")
    fsspec = importlib.import_module("fsspec")
    filesystem, path = fsspec.core.url_to_fs(location.target, **options.storage_options)
    return filesystem, path


@contextmanager
def failures_as(
    kind: type[InputError | OutputError], location: Location
) -> Generator[None, None, None]:
    """Turn what a client raises (each has its own errors) into ours, which name the location."""
    try:
        yield
    except (PaipaError, Stopped):
        raise
    except Exception as error:
        raise kind(problem(location, error)) from None


def problem(location: Location, error: Exception) -> str:
    """What went wrong with a remote location, without the secrets that the library repeats."""
    words = describe(error).replace(location.target, str(location))
    parts = urlsplit(location.target)
    user = user_info(location.target)
    for secret in (user, user.partition(":")[2], parts.query, parts.fragment):
        for form in {secret, unquote(secret), quote(secret)} if secret else ():
            words = words.replace(form, "…")
    return f"{location}: {words}"


def waker(file: Any) -> Callable[[], None]:
    """What ends a blocked read of a smart_open file: its socket's shutdown, where one is found."""

    def wake() -> None:
        found = _socket(file)
        if found is not None:
            found.shutdown(socket.SHUT_RDWR)

    return wake


def _socket(file: Any, depth: int = 0) -> socket.socket | None:
    """The socket under nested file objects of smart_open, botocore, urllib3, http.client."""
    if isinstance(file, socket.socket):
        return file
    names = ("_raw_reader", "_body", "_raw_stream", "response", "raw", "_fp", "fp", "_sock")
    for name in names if depth < 8 else ():
        inner = getattr(file, name, None)
        found = _socket(inner, depth + 1) if inner is not None else None
        if found is not None:
            return found
    return None
