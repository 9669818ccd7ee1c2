"""Secrets: what is never to be read in the logs of client libraries, whatever their level.

Errors are in words of our own; a library's debug log is not: it tells whole URLs, headers
and what is signed. A filter on each of its loggers leaves the secrets out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

LIBRARIES = (
    *("urllib3", "requests", "botocore", "boto3", "s3transfer", "google", "azure", "msal"),
    *("asyncssh", "paramiko", "smart_open", "fsspec", "httpx", "aiohttp"),
)
SHORTEST = 4  # characters: what is shorter would be found everywhere
HIDDEN = "…"
HEADERS = "authorization|x-amz-security-token|x-goog-api-key|cookie|set-cookie|x-ms-copy-source"
STRUCTURES = (
    (re.compile(r"://[^/\s'\"]*@"), f"://{HIDDEN}@"),
    (re.compile(r"\?[^\s'\"<>]+"), f"?{HIDDEN}"),
    (
        re.compile(rf"((?:proxy-)?(?:{HEADERS})['\"]?\s*[:=,]\s*b?['\"]?)[^'\"\n]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"\b((?:x-amz-)?(?:signature|credential)|sig|accountkey)=[^&;,\s'\"]+", re.I),
        rf"\1={HIDDEN}",
    ),
    (re.compile(r"\b[0-9a-f]{64}\b"), HIDDEN),  # signatures, and what they are made of
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), HIDDEN),
)

_known: set[str] = set()


class Redaction(logging.Filter):
    """Takes secrets out of a record: those that are known, and what has the form of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; it is logged in any case."""
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_redaction = Redaction()


def redacted(text: str) -> str:
    """A text without the secrets in it."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, instead in STRUCTURES:
        text = pattern.sub(instead, text)
    return text


def guard(*values: object) -> None:
    """Keep these out of the logs from now on, and what libraries log of themselves.

    Texts, and mappings and sequences that hold some. Done whenever a client is made,
    for the loggers that a library has made by then.
    """
    for text in _texts(values):
        forms = {text, quote(text, ""), unquote(text)}
        _known.update(form for form in forms if len(form) >= SHORTEST)
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LIBRARIES]
    for name in (*LIBRARIES, *names):
        logger = logging.getLogger(name)
        if _redaction not in logger.filters:
            logger.addFilter(_redaction)


def guard_url(url: str) -> None:
    """Keep the user info and the query of a URL out of the logs."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    guard(user, user.partition(":")[2], parts.query, parts.fragment)


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, bytes):
            yield value.decode("latin-1")
        elif isinstance(value, Mapping):
            yield from _texts(_secret(value))
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)


def _secret(words: Mapping[Any, Any]) -> Iterator[object]:
    """The values whose names say nothing of being public."""
    public = ("region", "endpoint", "username", "user", "port", "verify", "host", "known_hosts")
    return (value for name, value in words.items() if not str(name).startswith(public))
