"""What killed runs left over: uploads that were neither completed nor aborted, temporary files."""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterator
from functools import partial

from paipa_etl.errors import OutputError, PlanError
from paipa_etl.location import Location, glob_prefix
from paipa_etl.run.clients import Clients
from paipa_etl.schemes import LOCAL
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.attempts import Attempts
from paipa_etl.stores.port import Upload, UploadLister
from paipa_etl.stores.remote import prefix_of
from paipa_etl.threads.stop import Stop

TEMPORARY = "paipa-tmp"


class Leftovers:
    """What was left over under a location: everything whose name begins like it."""

    def __init__(self, location: Location, options: StoreOptions, clients: Clients) -> None:
        self._location, self._options = location, options
        self._clients, self._stop = clients, Stop()
        self._store: UploadLister
        if location.scheme == LOCAL:
            self._store = LocalFiles()
            return
        store = prefix_of(location, options, clients)
        if not hasattr(store, "upload_page"):
            problem = "cannot list uploads: what was not completed is forgotten within a week"
            raise PlanError(f"{location}: {location.scheme}:// {problem}")
        self._store = store

    def _attempts(self) -> Attempts:
        return Attempts(self._location, self._options, self._clients, self._stop, OutputError)

    def __iter__(self) -> Iterator[Upload]:
        """Each of them, a page of the listing in memory."""
        prefix, more = glob_prefix(self._location.target), None
        while True:
            uploads, more = self._attempts().call(partial(self._store.upload_page, prefix, more))
            yield from uploads
            if more is None:
                return

    def drop(self, upload: Upload) -> None:
        """Remove one."""
        self._attempts().call(partial(self._store.drop, upload))


class LocalFiles:
    """Temporary files beside local targets; those of a run that lives are locked, and left out."""

    def upload_page(self, prefix: str, more: object) -> tuple[list[Upload], None]:
        """All that lie in the folder, or beside the file, that the path names."""
        folder, name = (prefix, "") if os.path.isdir(prefix) else os.path.split(prefix)
        pattern = os.path.join(glob.escape(folder or "."), f".{glob.escape(name)}*.{TEMPORARY}")
        return [
            Upload(path, Location(LOCAL, path), os.stat(path).st_mtime)
            for path in sorted(glob.glob(pattern))
            if not _is_locked(path)
        ], None

    def drop(self, upload: Upload) -> None:
        """Remove one."""
        os.unlink(upload.name)


def _is_locked(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
