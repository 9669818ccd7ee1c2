"""SFTP through asyncssh, on an event loop of the run's: many requests on their way at once.

A file is read through one handle; it is written under a temporary name beside the target,
and renamed when it is whole.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import stat as modes
from collections.abc import Callable, Coroutine
from contextlib import suppress
from fnmatch import fnmatch
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.pace import moved, piece_of
from paipa_etl.stores.port import CHUNK, Body, Entry, Part, StoreFailure, Upload
from paipa_etl.stores.sftp_server import Login, Server, library

TEMPORARY = ".paipa-tmp"
BLOCK = 1 << 15  # bytes of a request that every server takes
T = TypeVar("T")


class SftpFile:
    """One file, or a folder, of a server: ``sftp://user@host:port/absolute/path``."""

    words = frozenset({"connect_kwargs"})
    least_part = 1 << 16
    part_size = 8 << 20
    parallel = 0  # a part's requests are on their way side by side

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options = location, options
        library()
        login = Login.of(location, options)
        self._server: Server = clients.get(
            ("sftp", login.key), lambda: Server(login, options.timeout), Server.close
        )
        path = unquote(urlsplit(location.target.replace("?", "%3F").replace("#", "%23")).path)
        self._path = path.removeprefix("/~/") if path.startswith("/~/") else path
        piece = piece_of(options.timeout)
        self._block = -1 if piece == CHUNK else min(piece, BLOCK)  # -1: as the server says
        self._handle: Any = None
        self._temporary = self._target = ""
        self._written: dict[int, int] = {}

    def _call(self, action: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        return self._server.call(action)

    # Reading

    def stat(self) -> Entry:
        """Size and time, which together are the stamp."""
        found = self._call(lambda sftp: sftp.stat(self._path))
        if modes.S_ISDIR(found.permissions or 0):
            raise StoreFailure("is a directory")
        return self._entry(self._location, found)

    def _entry(self, location: Location, found: Any) -> Entry:
        return Entry(location, found.size, f"{found.size}-{found.mtime}", found.mtime)

    def read_range(self, start: int, stop: int, stamp: str | None) -> Body:
        """A range of the file that was opened first; one that changed since is another."""

        async def read(sftp: Any) -> tuple[bytes, Any]:
            handle = await self._opened(sftp)
            found = await handle.stat()
            if found.size is None:
                raise StoreFailure("the server does not tell its size")
            if stamp is not None and f"{found.size}-{found.mtime}" != stamp:
                raise StoreFailure("changed while it was read", kind="changed")
            end = min(stop or found.size, found.size)
            return await _read(handle, start, end), found

        data, found = self._call(read)
        entry = self._entry(self._location, found)
        end = min(stop or found.size, found.size)
        return Body(iter((data,) if data else ()), start, end, found.size, entry.stamp)

    async def _opened(self, sftp: Any) -> Any:
        """The file's handle on this connection."""
        if self._handle is None or self._handle[0] is not sftp:
            self._handle = sftp, await sftp.open(self._path, "rb", block_size=self._block)
        return self._handle[1]

    def list_page(self, prefix: str, deep: bool, more: Any) -> tuple[list[Entry], Any]:
        """All files of a folder, and of those in it: a server has no pages."""
        root, folder = self._folder(prefix)
        found = self._call(lambda sftp: _walked(sftp, folder, deep))
        entries = [
            self._entry(Location("sftp", root + quote(path)), attributes)
            for path, attributes in found
        ]
        return sorted(entries, key=lambda entry: entry.location.target), None

    def _folder(self, prefix: str) -> tuple[str, str]:
        """The URL's part before the path, and the folder in which a prefix of it ends."""
        parts = urlsplit(prefix)
        return f"sftp://{parts.netloc}", unquote(parts.path).rpartition("/")[0] or "/"

    # Writing

    def check(self, clobber: bool) -> None:
        """Refuse a folder that is not there, a folder as a target, and a file that is to stay."""

        async def look(sftp: Any) -> str:
            target = await sftp.realpath(self._path)
            folder = posixpath.dirname(target)
            if not await sftp.isdir(folder):
                raise StoreFailure("its folder does not exist", kind="missing")
            if await sftp.isdir(target):
                raise StoreFailure("is a directory; name a file in it")
            if not clobber and await sftp.exists(target):
                raise StoreFailure("exists", kind="exists")
            return str(target)

        self._target = self._call(look)
        folder, name = posixpath.split(self._target)
        tail = f".{os.urandom(8).hex()}{TEMPORARY}"
        self._temporary = posixpath.join(folder, "." + name[: 254 - len(tail)] + tail)

    def put(self, data: Part, clobber: bool) -> None:
        """Publish a small file."""
        if not self._written:  # else only the answer to an earlier attempt was lost
            self.put_part(1, data)
        self.complete(len(data), clobber)

    def begin(self) -> None:
        """Create the temporary file; it is opened with the first part."""

    def put_part(self, number: int, data: Part) -> None:
        """Write behind the part before; again, where the connection was lost."""
        offset = sum(size for earlier, size in self._written.items() if earlier < number)

        async def write(sftp: Any) -> None:
            handle = await self._opened_temporary(sftp)
            await _write(handle, data, offset)

        self._call(write)
        self._written[number] = len(data)

    async def _opened_temporary(self, sftp: Any) -> Any:
        if self._handle is None or self._handle[0] is not sftp:
            mode = "r+b" if self._handle is not None else "xb"
            try:
                self._handle = sftp, await sftp.open(self._temporary, mode, block_size=self._block)
            except Exception:
                if mode == "r+b" or not await sftp.exists(self._temporary):
                    raise
                self._handle = sftp, await sftp.open(self._temporary, "r+b", block_size=self._block)
        return self._handle[1]

    def complete(self, size: int, clobber: bool) -> None:
        """Flush the file to the server's disk, and give it its name."""

        async def rename(sftp: Any) -> None:
            if await self._renamed(sftp, size):
                return
            handle = await self._opened_temporary(sftp)
            if (await handle.stat()).size != size:
                raise StoreFailure("what the server has is not of the size that was sent")
            with suppress(Exception):  # an extension that not every server has
                await handle.fsync()
            await handle.close()
            self._handle = None
            await self._publish(sftp, clobber)

        self._call(rename)
        self._temporary = ""

    async def _renamed(self, sftp: Any, size: int) -> bool:
        """Whether an earlier attempt, whose answer was lost, has published the file."""
        if await sftp.exists(self._temporary) or not await sftp.exists(self._target):
            return False
        return bool((await sftp.stat(self._target)).size == size)

    async def _publish(self, sftp: Any, clobber: bool) -> None:
        asyncssh = library()
        with suppress(asyncssh.SFTPError):
            old = await sftp.stat(self._target)
            await sftp.chmod(self._temporary, modes.S_IMODE(old.permissions))
        try:
            # A plain rename of OpenSSH's is a link: it fails where the target exists.
            await (sftp.posix_rename if clobber else sftp.rename)(self._temporary, self._target)
            return
        except asyncssh.SFTPFailure:
            if clobber:
                raise
        raise StoreFailure("exists", kind="exists")

    def abort(self) -> None:
        """Remove the temporary file."""
        temporary = self._temporary

        async def remove(sftp: Any) -> None:
            if self._handle is not None and self._handle[0] is sftp:
                with suppress(Exception):
                    await self._handle[1].close()
            if await sftp.exists(temporary):
                await sftp.remove(temporary)

        if temporary:
            self._call(remove)
        self._temporary = ""

    def upload_page(self, prefix: str, more: Any) -> tuple[list[Upload], Any]:
        """The temporary files of runs that were killed."""
        root, folder = self._folder(prefix)
        found = self._call(lambda sftp: _walked(sftp, folder, True))
        return [
            Upload(path, Location("sftp", root + quote(path)), attributes.mtime)
            for path, attributes in found
            if fnmatch(posixpath.basename(path), f".*{TEMPORARY}")
        ], None

    def drop(self, upload: Upload) -> None:
        """Remove one."""
        self._call(lambda sftp: sftp.remove(upload.name))


async def _read(handle: Any, start: int, end: int) -> bytes:
    """A range of a file, by requests side by side; shorter where the file is."""
    data, stop = bytearray(end - start), start
    if end > start:
        async for at, piece in await handle.read_parallel(end - start, start):
            moved(len(piece))
            data[at - start : at - start + len(piece)] = piece
            stop = max(stop, at + len(piece))
    del data[stop - start :]
    return bytes(data)


async def _write(handle: Any, data: Part, offset: int) -> None:
    """Write at an offset, by requests side by side."""

    async def write(start: int) -> None:
        piece = bytes(data[start : start + CHUNK])
        await handle.write(piece, offset + start)
        moved(len(piece))

    await asyncio.gather(*map(write, range(0, len(data), CHUNK)))


async def _walked(sftp: Any, folder: str, deep: bool) -> list[tuple[str, Any]]:
    """The files of a folder: path and attributes."""
    found, folders = [], []
    async for one in sftp.scandir(folder):
        moved(len(one.filename))
        path = posixpath.join(folder, one.filename)
        if modes.S_ISREG(one.attrs.permissions or 0):
            found.append((path, one.attrs))
        elif modes.S_ISDIR(one.attrs.permissions or 0) and one.filename not in (".", ".."):
            folders.append(path)
    for path in folders if deep else ():
        found += await _walked(sftp, path, deep)
    return found
