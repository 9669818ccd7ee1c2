"""Store ``dir://``: ``dir:///folder/name`` is an object, a file of that folder.

A folder that is missing is made when an object is written into it, as buckets have none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions, register
from paipa_etl.stores.port import CHUNK, Body, Entry, Part, StoreFailure, Upload

SCHEME = "dir"
UNFINISHED = ".dir-part"


class DirObject:
    """One object; to list, what the names of several objects begin with."""

    words = frozenset({"sync"})
    part_size = least_part = 1 << 20
    parallel = 3

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        url = location.target.partition("://")[2]
        if not url.startswith("/"):
            raise PlanError(f"{location}: a folder is missing: {SCHEME}:///folder/name")
        self._location, self._path = location, Path(unquote(url))
        self._sync = bool(options.word("sync", False))
        self._parts: Path | None = None

    # Reading

    def stat(self) -> Entry:
        """Size and time; the stamp is made of both."""
        with _told():
            return _entry(self._location, self._path)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range; all from ``start`` on where ``stop`` is 0."""
        found = self.stat()
        size = found.size or 0
        if stamp is not None and stamp != found.stamp:
            raise StoreFailure("changed while it was read", kind="changed")
        end = min(stop, size) if stop else size
        return Body(self._chunks(start, end), start, end, size, found.stamp)

    def _chunks(self, at: int, end: int) -> Iterator[bytes]:
        with _told(), self._path.open("rb") as file:
            file.seek(at)
            while at < end and (chunk := file.read(min(CHUNK, end - at))):
                at += len(chunk)
                yield chunk

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """All objects whose URL begins with the prefix, sorted, in one page."""
        start = unquote(prefix.partition("://")[2])
        folder = Path(start[: start.rindex("/") + 1])
        with _told():
            found = [
                _entry(_url(path), path)
                for path in (folder.rglob("*") if deep else folder.glob("*"))
                if path.is_file() and str(path).startswith(start) and not _is_part(path)
            ]
        return sorted(found, key=lambda entry: entry.location.target), None

    # Writing

    def check(self, clobber: bool) -> None:
        """Refuse to replace an object that is to stay."""
        if not clobber and self._path.exists():
            raise StoreFailure("exists already", kind="exists")

    def put(self, data: Part, clobber: bool) -> None:
        """Write a small object in one go."""
        self.begin()
        self.put_part(1, data)
        self.complete(len(data), clobber)

    def begin(self) -> None:
        """Make a folder for the parts, beside the object."""
        with _told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._parts = Path(tempfile.mkdtemp(UNFINISHED, ".", self._path.parent))

    def put_part(self, number: int, data: Part) -> None:
        """Write one part."""
        assert self._parts is not None
        with _told():
            (self._parts / f"{number:06}").write_bytes(data)

    def complete(self, size: int, clobber: bool) -> None:
        """Append the parts to the first, and give it the name of the object."""
        assert self._parts is not None
        with _told():
            first, *others = sorted(self._parts.iterdir())
            with first.open("ab") as file:
                for part in others:
                    file.write(part.read_bytes())
                if self._sync:
                    os.fsync(file)
                if file.tell() != size:
                    raise StoreFailure(f"{file.tell():,} of {size:,} bytes are there")
            if clobber:
                first.replace(self._path)
            else:
                self._path.hardlink_to(first)  # fails where the name is taken
        self.abort()

    def abort(self) -> None:
        """Remove the parts."""
        if self._parts is None:
            return
        with _told():
            for part in self._parts.iterdir():
                part.unlink()
            self._parts.rmdir()
        self._parts = None

    # What killed runs left over

    def upload_page(self, prefix: str, more: Any) -> tuple[list[Upload], Any]:
        """The folders of parts under what an URL begins with, in one page."""
        start = unquote(prefix.partition("://")[2])
        with _told():
            found = [
                Upload(str(path), _url(path), path.stat().st_mtime)
                for path in Path(start).parent.rglob(f"*{UNFINISHED}")
                if str(path).startswith(start)
            ]
        return found, None

    def drop(self, upload: Upload) -> None:
        """Remove one."""
        self._parts = Path(upload.name)
        self.abort()


def _url(path: Path) -> Location:
    return Location(SCHEME, f"{SCHEME}://{quote(str(path))}")


def _entry(location: Location, path: Path) -> Entry:
    status = path.stat()
    if not path.is_file():
        raise StoreFailure("is a directory")
    stamp = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    return Entry(location, status.st_size, stamp, status.st_mtime)


def _is_part(path: Path) -> bool:
    return any(part.endswith(UNFINISHED) for part in path.parts)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Raise what the file system says as a failure of a store."""
    try:
        yield
    except FileExistsError:
        raise StoreFailure("exists already", kind="exists") from None
    except FileNotFoundError:
        raise StoreFailure("there is nothing of that name", kind="missing") from None
    except PermissionError:
        raise StoreFailure("access denied", kind="denied") from None
    except OSError as error:
        raise StoreFailure(str(error.strerror)) from None


register(DirObject, SCHEME)
