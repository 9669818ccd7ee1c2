"""Protocols of fsspec that are allowed by name: one file of its file systems as an object."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, TypeVar

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.schemes import ALLOWED
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.failures import transport
from paipa_etl.stores.port import CHUNK, Body, Entry, StoreFailure
from paipa_etl.stores.secrets import guard

T = TypeVar("T")


class ProtocolFile:
    """One file, or a prefix, of a file system of fsspec's."""

    words: frozenset[str] = frozenset()

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options = location, options
        self.filesystem, self.path = filesystem_of(location, options)

    def told(self, action: Callable[[], T]) -> T:
        """What a call gives; its failure as a store's, without its own text."""
        try:
            return action()
        except FileNotFoundError:
            failure = StoreFailure("there is nothing of that name", kind="missing")
        except PermissionError:
            failure = StoreFailure("access denied", kind="denied")
        except Exception as error:
            failure = transport(error, self._options.timeout) or StoreFailure(type(error).__name__)
        raise failure

    def stat(self) -> Entry:
        """Size, and whatever the file system has that tells one content from another."""
        info = self.told(lambda: self.filesystem.info(self.path))
        if info.get("type") == "directory":
            raise StoreFailure("is a directory")
        return self._entry(self._location, info)

    def _entry(self, location: Location, info: dict[str, Any]) -> Entry:
        when = next(
            (info[k] for k in ("mtime", "LastModified", "modified", "created") if k in info), None
        )
        modified = when.timestamp() if isinstance(when, datetime) else when
        stamp = info.get("ETag") or info.get("etag") or info.get("md5") or modified
        size = info.get("size")
        known = size is not None or stamp is not None
        return Entry(location, size, f"{size}-{stamp}" if known else None, modified)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range, of a file that has the stamp before and after."""
        before = self.stat()
        if stamp is not None and before.stamp != stamp:
            raise StoreFailure("changed while it was read", kind="changed")
        if before.size is None or not stop:
            return Body(self._stream(), 0, before.size, before.size, before.stamp, ranges=False)
        end = min(stop, before.size)
        data = (
            self.told(lambda: self.filesystem.cat_file(self.path, start=start, end=end))
            if end > start
            else b""
        )
        return Body(iter((data,)), start, end, before.size, before.stamp)

    def _stream(self) -> Iterator[bytes]:
        """All bytes, up to what the file system says is the end."""
        with closing(self.told(lambda: self.filesystem.open(self.path, "rb"))) as file:
            while chunk := self.told(lambda: file.read(CHUNK)):
                yield chunk

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """All files under the folder in which the prefix ends: file systems have no pages."""
        scheme = self._location.scheme
        folder = prefix.split("://", 1)[1].rpartition("/")[0]
        found = self.told(
            lambda: self.filesystem.find("/" + folder, None if deep else 1, detail=True)
        )
        entries = [
            self._entry(Location(scheme, f"{scheme}://{path.lstrip('/')}"), info)
            for path, info in found.items()
        ]
        return sorted(entries, key=lambda entry: entry.location.target), None


def filesystem_of(location: Location, options: StoreOptions) -> tuple[Any, str]:
    """The file system of fsspec's, and the path in it, for a protocol that is allowed."""
    allowed = (ALLOWED, *options.allow_schemes)
    if location.scheme not in allowed or "::" in location.target:
        raise PlanError(f"the scheme of {location} is not among those that are allowed")
    fsspec = importlib.import_module("fsspec")
    guard(options.storage_options)
    with contextlib.suppress(ImportError, ValueError):
        filesystem, path = fsspec.core.url_to_fs(location.target, **options.storage_options)
        return filesystem, path
    raise PlanError(f"{location}: fsspec cannot serve {location.scheme}:// as it is installed")
