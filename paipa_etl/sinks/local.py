"""Local files: written beside the target, published by a rename, or not at all.

A FIFO, a device or a socket cannot be replaced: those are written as they are. A name of a
descriptor (``/dev/stdout``, ``/dev/fd/3``) is written through that descriptor, at its offset.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location
from paipa_etl.run import Run
from paipa_etl.sinks import Target, WriteStore
from paipa_etl.sinks.standard import LiveTarget, open_descriptor
from paipa_etl.stores import StoreOptions, exists_already
from paipa_etl.stores.descriptors import (
    named_descriptor,
    names_foreign_descriptor,
    write_all,
)
from paipa_etl.threads.interrupts import held_back

NAME_LIMIT = 255  # bytes of a file name that file systems take
FLUSH_EVERY = 8 << 20  # bytes after which the kernel is asked to begin writing them to the disk


def open_local(location: Location, clobber: bool, run: Run, options: StoreOptions) -> Target:
    """The target for a path; what cannot be written is found here, before anything is read."""
    if location.target.endswith("/"):
        raise OutputError(f"{location}: names a directory; name a file in it")
    number = named_descriptor(location.target)
    if number is not None:
        return open_descriptor(location, number, run)
    is_foreign = names_foreign_descriptor(location.target)
    # A symbolic link stays, what it names is replaced.
    path = location.target if is_foreign else os.path.realpath(location.target)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return LocalTarget(location, path, None, clobber)
    except OSError as error:
        raise OutputError(f"{location}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{location}: is a directory; name a file in it")
    if not stat.S_ISREG(mode):
        return LiveTarget(location, _open_live(location, path), run.stops.output)
    if is_foreign:
        problem = "is a descriptor of another process, on a regular file that it may be writing"
        raise PlanError(f"{location}: {problem}; name the file itself to replace it")
    if not clobber:
        raise exists_already(location)
    return LocalTarget(location, path, os.stat(path), clobber)


def _open_live(location: Location, path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"{location}: {error.strerror}") from error


class LocalTarget:
    """A temporary file beside the target; private, and locked while its run lives.

    ``prepare`` gives it the old file's mode (or the umask's) and flushes it to the disk;
    ``commit`` renames it over the target and flushes the directory.
    """

    live = False
    cached = True

    def __init__(
        self, location: Location, path: str, old: os.stat_result | None, clobber: bool
    ) -> None:
        self._location, self._path, self._old, self._clobber = location, path, old, clobber
        self._directory, name = os.path.split(path)
        self._temporary = os.path.join(self._directory, temporary_name(name))
        self._written = self._flushed = 0
        self._prepared = self._published = False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with held_back():  # or nobody would know of the file that is there
                self._descriptor = os.open(self._temporary, flags, 0o600)
                self._open = True
        except OSError as error:
            reason = error.strerror
            if isinstance(error, FileNotFoundError):
                reason = f"the directory {self._directory} does not exist"
            raise OutputError(f"{location}: {reason}") from error
        with contextlib.suppress(OSError):  # some network mounts have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes | bytearray) -> None:
        """Append to the temporary file."""
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            raise self._failed(error) from error
        self._written += len(data)
        if self._written - self._flushed >= FLUSH_EVERY:
            self._start_flush()

    def _start_flush(self) -> None:
        """Have the disk begin now, or it would have everything to do at the commit."""
        size = self._written - self._flushed
        with contextlib.suppress(OSError, AttributeError):  # a hint, on Linux only
            os.posix_fadvise(self._descriptor, self._flushed, size, os.POSIX_FADV_DONTNEED)
        self._flushed = self._written

    def prepare(self) -> None:
        """Have the whole file on the disk."""
        try:
            os.fchmod(self._descriptor, self._mode())
            self._keep_owner()
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from error
        self._prepared = True

    def commit(self) -> None:
        """Publish the file under its name."""
        if not self._prepared:
            self.prepare()
        try:
            if self._clobber:
                os.replace(self._temporary, self._path)
            else:
                os.link(self._temporary, self._path)
                os.unlink(self._temporary)
            self._published = True
            self._close()
            self._sync_directory()
        except FileExistsError:  # the name was taken meanwhile
            raise exists_already(self._location) from None
        except OSError as error:
            raise self._failed(error) from error

    def _mode(self) -> int:
        if self._old is not None:
            return stat.S_IMODE(self._old.st_mode)
        return 0o666 & ~_umask()

    def _keep_owner(self) -> None:
        if self._old is not None and os.geteuid() == 0:
            os.fchown(self._descriptor, self._old.st_uid, self._old.st_gid)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def abort(self, cause: BaseException) -> None:
        """Remove the temporary file; the target stays as it was."""
        if self._open:
            with contextlib.suppress(OSError):  # the cause is what the caller must see
                os.unlink(self._temporary)
            with contextlib.suppress(OSError):
                self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def __del__(self) -> None:
        """A sink that was opened and forgotten leaves nothing behind."""
        if getattr(self, "_open", False):
            self.abort(GeneratorExit())

    def _failed(self, error: OSError) -> OutputError:
        state = "replaced, but perhaps not on the disk yet" if self._published else "untouched"
        return OutputError(f"{self._location}: {error.strerror} (the previous file is {state})")


def temporary_name(name: str) -> str:
    """A name for the temporary file of a target: ``.{name, shortened}.{random}.paipa-tmp``."""
    tail = f".{os.urandom(8).hex()}.paipa-tmp"
    kept = os.fsencode(name)[: NAME_LIMIT - 1 - len(tail)]
    return "." + os.fsdecode(kept) + tail


def _umask() -> int:
    """The process's umask; where the kernel tells it, without setting it for a moment."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    umask = os.umask(0)
    os.umask(umask)
    return umask


STORE = WriteStore(open_local)
