"""Secrets: what is never to be read in the logs of client libraries, whatever their level.

Errors are in words of our own; a library's debug log is not: it tells whole URLs, headers
and what is signed. Each of its loggers has a filter that leaves the secrets out.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from urllib.request import getproxies

from paipa_etl.location import user_info
from paipa_etl.schemes import known
from paipa_etl.threads import forks

SHORTEST = 4  # characters: what is shorter would be found everywhere
LONG = 12  # characters, from which on a value of a query may be a secret of its own
QUERIES = 1_000  # texts of URLs that are kept; there may be millions, and their form tells them
HIDDEN = "…"
HEADERS = "authorization|x-amz-security-token|x-goog-api-key|cookie|set-cookie|x-ms-copy-source"
WORDS = "password|passphrase|client_secret|(?:access|refresh|id|session)_?token|assertion"
STRUCTURES = (
    (re.compile(r"://[^/\s'\"]*@"), f"://{HIDDEN}@"),
    (re.compile(r"\?[^\s'\"<>]+"), f"?{HIDDEN}"),
    (
        re.compile(rf"((?:{HEADERS}|{WORDS})['\"]?\s*[:=,]\s*b?['\"]?)[^'\"\n]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(signature|credential|sig|accountkey)=[^&;,\s'\"]+", re.I), rf"\1={HIDDEN}"),
    (re.compile(r"\b[0-9a-f]{64}\b"), HIDDEN),  # signatures, and what they are made of
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), HIDDEN),
)
PUBLIC = ("region", "endpoint", "username", "user", "port", "verify", "host", "known_hosts")

_lock = forks.lock()
_known: set[str] = set()
_queries: dict[str, None] = {}


class Redaction(logging.Handler):
    """Takes secrets out of a record: those that are known, and what has the form of one.

    The filter of each logger that there is; and, as the first handler of a library's topmost
    one, that of the loggers that it makes later: their records come by before they go on.
    """

    covered = 0, 0
    """Loggers of anybody's, and rows of the scheme table, when it was looked for new loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; it is logged in any case."""
        try:
            message = record.getMessage()
        except Exception:  # the library's own mistake must not become a failure of its request
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redacted(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        record.exc_text = redacted(record.exc_text) if record.exc_text else None
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Where nobody listens, Python tells warnings; that somebody filters changes nothing."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        last = logging.lastResort
        if last is not None and record.levelno >= last.level:
            last.handle(record)


_redaction = Redaction()


def redacted(text: str) -> str:
    """A text without the secrets in it."""
    with _lock:
        secrets = sorted((*_known, *_queries), key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern, instead in STRUCTURES:
        text = pattern.sub(instead, text)
    return text


def guard(*values: object) -> None:
    """Keep these out of the logs from now on, and what libraries log of themselves.

    Texts, and mappings and sequences that hold some. Done whenever a client is made,
    for the loggers that a library has made by then.
    """
    forms = {form for text in _texts(values) for form in _forms(text)}
    with _lock:
        _known.update(forms)
        _attach()


def guard_url(url: str) -> None:
    """Keep the user info and the query of a URL out of the logs."""
    user, query = user_info(url), url.partition("?")[2]
    guard(user, unquote(user), user.partition(":")[2])
    long = [value for _, value in parse_qsl(query) if len(value) >= LONG]
    forms = {form for text in (query, *long) for form in _forms(text)}
    with _lock:
        _queries.update(dict.fromkeys(forms))
        for text in [*_queries][: max(len(_queries) - QUERIES, 0)]:
            del _queries[text]


def guard_proxies() -> None:
    """Keep the secrets of the environment's proxies out of the logs.

    Of a URL that is none, all is kept out: what seems to be a port may be a part of a password.
    """
    for url in getproxies().values():
        try:
            guard_url(url)
            _ = urlsplit(url).port
        except ValueError:
            guard(url, url.rpartition("@")[2])


def _attach() -> None:
    found = [*logging.root.manager.loggerDict]
    rows = known()
    if (len(found), len(rows)) == _redaction.covered:
        return
    libraries = dict.fromkeys(logger for row in rows for logger in row.loggers)
    for name in (*libraries, *(name for name in found if name.partition(".")[0] in libraries)):
        logger = logging.getLogger(name)
        if _redaction not in logger.filters:
            logger.addFilter(_redaction)
        if "." not in name and _redaction not in logger.handlers[:1]:
            logger.removeHandler(_redaction)
            logger.handlers.insert(0, _redaction)
    _redaction.covered = len(logging.root.manager.loggerDict), len(rows)


def _forms(text: str) -> set[str]:
    """A secret, and what libraries make of it in a URL, a header or a repr."""
    raw = text.encode("utf-8", "surrogateescape")
    forms = {text, quote(raw, ""), unquote(text), repr(text)[1:-1], base64.b64encode(raw).decode()}
    return {form for form in forms if min(len(form), len(text)) >= SHORTEST}


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, bytes):
            yield value.decode("latin-1")
        elif isinstance(value, Mapping):
            yield from _texts(v for name, v in value.items() if not str(name).startswith(PUBLIC))
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)
