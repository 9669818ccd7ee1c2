"""What the suffixes of a location, or those that were asked for, say of format and codec."""

from __future__ import annotations

import re

from paipa_etl import codecs, formats
from paipa_etl.codecs import Codec
from paipa_etl.formats import Format
from paipa_etl.location import Location


def parse_suffixes(suffixes: str | None) -> tuple[Format | None, Codec | None]:
    """Format and codec of suffixes as in a file name: ``jsonl.gz``, ``zst``, ``txt``."""
    if not suffixes:
        return None, None
    name, codec = codecs.split_name(f".{suffixes.removeprefix('.')}")
    word = name.removeprefix(".")
    return (formats.by_name(word) if word else None), codec


def format_of(location: Location) -> Format:
    """The format that a location's name tells, under its codec's suffix."""
    return formats.from_name(codecs.split_name(location.name)[0])


def codec_of(location: Location) -> Codec | None:
    """The codec that a location's name tells."""
    return codecs.split_name(location.name)[1]


def named_format(pattern: str) -> Format | None:
    """The format of all names that a wildcard matches, where its own end tells."""
    end = codecs.split_name("x" + re.split(r"[*?\]]", pattern)[-1].rpartition("/")[2])[0]
    dot, suffix = end.rpartition(".")[1:]
    return formats.from_suffix(suffix) if dot else None


def without_suffixes(name: str) -> str:
    """A file name without the suffixes of its codec and format.

    >>> without_suffixes("a.b.jsonl.gz")
    'a.b'
    """
    plain = codecs.split_name(name)[0]
    stem, dot, suffix = plain.rpartition(".")
    return stem if dot and stem and formats.from_suffix(suffix) else plain
