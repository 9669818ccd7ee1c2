"""Where bytes come from or go to, as plain data; nothing is looked at or opened here.

``urllib`` is imported where a URL is: a path needs none of it, and it takes its time.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paipa_etl.errors import PlanError, shown
from paipa_etl.schemes import BYTES, LOCAL, OBJECT, STANDARD, row_of

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_CHAINED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*::.*://", re.DOTALL)
_USER_INFO = re.compile(r"[^@]*:[^@]*@", re.DOTALL)
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Location:
    """A parsed path or URL, ``-``, or the caller's own file object; never an open file.

    ``scheme`` names the store: ``file``, ``-``, ``object``, ``bytes``, or a URL's.
    ``target`` is what the store opens: a local path, a whole URL, ``-``; ``file`` is
    the caller's own object or bytes. ``literal``: it was found under that very name, so that
    nothing in it is a wildcard.
    """

    scheme: str
    target: str
    file: Any = field(default=None, repr=False)
    literal: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of the path, whose suffixes tell codec and format."""
        if self.scheme == LOCAL:
            return os.path.basename(self.target)
        if self.scheme in (STANDARD, OBJECT, BYTES):
            return ""
        if row_of(self.scheme).is_literal:
            return self.target.rsplit("/", 1)[-1] if self.target.count("/") > 2 else ""
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(self.target).path.rsplit("/", 1)[-1])

    @property
    def is_glob(self) -> bool:
        """Whether the path holds a wildcard (which a file of that very name overrules)."""
        if self.literal or not _WILDCARD.search(self.target):
            return False
        return row_of(self.scheme).lists

    def __repr__(self) -> str:
        """The location without its secrets, as everywhere."""
        return f"Location({str(self)!r})"

    def __str__(self) -> str:
        """The location as a message may show it: no user info, no query, no control characters."""
        if self.scheme == STANDARD:
            return "-"
        if self.scheme in (OBJECT, BYTES):
            return self.target
        return shown(self.target if self.scheme == LOCAL else redact(self.target), 400)


def parse(spec: Any) -> Location:
    """A location from a path, a URL, ``-``, bytes, or an object with ``read`` or ``write``.

    >>> parse("file:///tmp/a%20b.jsonl").target
    '/tmp/a b.jsonl'
    >>> str(parse("https://bob:secret@example.org/x.jsonl.gz?sig=1"))
    'https://example.org/x.jsonl.gz'
    """
    if isinstance(spec, Location):
        return spec
    if isinstance(spec, (bytes, bytearray, memoryview)):
        return Location(BYTES, f"<{len(spec)} bytes>", spec)
    if isinstance(spec, (str, os.PathLike)):
        text = os.fspath(spec)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        return _parse_text(text, plain=not isinstance(spec, str))
    if callable(getattr(spec, "read", None)) or callable(getattr(spec, "write", None)):
        return Location(OBJECT, f"<{type(spec).__name__}>", spec)
    raise PlanError(f"not a path, a URL, '-' or a file object: {shown(spec)}")


def _parse_text(text: str, plain: bool) -> Location:
    if not text:
        raise PlanError("an empty path is no location")
    _check_nul(text)
    if text == STANDARD and not plain:
        return Location(STANDARD, STANDARD)
    if not plain and _CHAINED.match(text):
        raise PlanError("a chain of protocols (one::two://…) is no location")
    url = None if plain else _URL.fullmatch(text)
    if url is None:
        return Location(LOCAL, os.path.expanduser(text))
    scheme, rest = url[1].lower(), url[2]
    if scheme == LOCAL:
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise PlanError("a file URL names a local path (file:///path), and no host")
        from urllib.parse import unquote

        path = "/" + unquote(path)
        _check_nul(path)
        return Location(LOCAL, path)
    problem = _problem(scheme, text)
    if problem and "@" in text:  # whatever it seems to be, it may be a part of the password
        problem = "a / ? # or @ of a password is written as %2F …"
    if problem:
        raise PlanError(f"not a URL: {scheme}://… ({problem})")
    return Location(scheme, text)


def _problem(scheme: str, url: str) -> str:
    """What is wrong with the host or the port, in words that quote nothing: it may be secret."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return "its host is no name and no address; that of IPv6 stands in brackets: [::1]"
    row = row_of(scheme)
    if not row.is_url:
        return "that is no scheme of URLs"
    if not row.has_host:
        return ""
    if not parts.hostname:
        return f"its host is missing: {scheme}://host/path"
    with suppress(ValueError):
        if parts.port != 0:
            return ""
    return "its port is no number from 1 to 65535"


def _check_nul(path: str) -> None:
    if "\0" in path:
        raise PlanError("a path cannot hold a NUL character")


def redact(url: str) -> str:
    """A URL without user info, query and fragment: the places where credentials stand.

    Whatever stands between ``://`` and an ``@`` behind a colon is taken for user info,
    because a secret may hold a slash: too much is left out rather than too little.
    """
    from urllib.parse import urlsplit

    scheme, rest = url.split("://", 1)
    parts = urlsplit(f"{scheme}://{_USER_INFO.sub('', rest)}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def glob_prefix(text: str) -> str:
    """What stands before the first wildcard."""
    found = _WILDCARD.search(text)
    return text[: found.start()] if found else text


def folder_of(text: str) -> str:
    """The folder in which what stands before the first wildcard ends, its slash included."""
    prefix = glob_prefix(text)
    return prefix[: prefix.rfind("/") + 1]


def user_info(url: str) -> str:
    """What ``redact`` leaves out in front of the host."""
    from urllib.parse import urlsplit

    found = _USER_INFO.match(url.partition("://")[2])
    return found[0][:-1] if found else urlsplit(url).netloc.rpartition("@")[0]
