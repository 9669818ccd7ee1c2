"""From suffixes to format and codec, and the closed table of suffixes that are refused.

A name whose suffix says a format, an archive or a codec that this package does not have is an
error, never JSON Lines by default. Any other suffix is JSON Lines.
"""

from __future__ import annotations

import re

from paipa_etl import codecs, formats
from paipa_etl.codecs import Codec
from paipa_etl.errors import InputError, PlanError
from paipa_etl.formats import Format
from paipa_etl.location import Location

REFUSED: dict[str, str] = {
    "JSON documents": "json5 jsonc geojson topojson ipynb har",
    "delimited text": "csv tsv psv tab ssv",
    "columnar files": "parquet pq feather arrow ipc orc avro",
    "other records": "msgpack mpk bson cbor ubj pb proto protobuf pickle pkl",
    "markup": "xml html htm xhtml yaml yml toml ini md rst",
    "spreadsheets": "xls xlsx xlsm xlsb ods numbers",
    "databases and arrays": "sqlite sqlite3 db mdb accdb dbf npy npz h5 hdf5 nc mat",
    "statistics files": "sas7bdat xpt dta sav rds rdata",
    "documents": "pdf doc docx odt rtf ppt pptx odp epub",
    "images": "png jpg jpeg gif webp tif tiff bmp ico svg heic avif",
    "sound and video": "mp3 mp4 m4a mkv avi mov wav flac ogg webm",
    "archives": "zip tar tgz tbz tbz2 txz tzst 7z rar jar whl deb rpm iso cab dmg",
    "codecs": "br z lzma lzo lz lzip sz snappy zlib zz deflate",
    "programs": "exe dll so dylib class wasm",
}
"""What is refused, by kind; a suffix that a registered format or codec has is not looked up."""

_KINDS = {word: kind for kind, words in REFUSED.items() for word in words.split()}


class RefusedSuffix(PlanError):
    """A name says a format, an archive or a codec that this package does not have.

    ``parameter`` is the keyword argument that says what the bytes are in fact.
    """

    def __init__(self, location: str, suffix: str, parameter: str) -> None:
        super().__init__(location, suffix, parameter)
        self.location, self.suffix, self.parameter = location, suffix, parameter

    def __str__(self) -> str:
        problem = f"{self.location}: .{self.suffix} ({_KINDS[self.suffix]}) is not supported"
        return f"{problem}; if the content is JSON Lines, pass {self.parameter}='jsonl'"


def refused_input(refused: RefusedSuffix) -> InputError:
    """The same for an input that shows only in mid-run, because a wildcard stood for it."""
    error = InputError(str(refused))
    error.parameter = refused.parameter
    return error


def split_name(name: str) -> tuple[str, Codec | None]:
    """A file name without its codec suffix, and the codec.

    A registered format's suffix is no codec's: no installed package is asked for it.

    >>> split_name("events.jsonl.gz")[0]
    'events.jsonl'
    """
    stem, dot, suffix = name.rpartition(".")
    if not dot or formats.is_registered(suffix):
        return name, None
    codec = codecs.from_suffix(suffix)
    return (stem, codec) if codec else (name, None)


def parse_suffixes(suffixes: str | None) -> tuple[Format | None, Codec | None]:
    """Format and codec of suffixes as in a file name: ``jsonl.gz``, ``zst``, ``txt``."""
    if not suffixes:
        return None, None
    name, codec = split_name(f".{suffixes.removeprefix('.')}")
    word = name.removeprefix(".")
    return (formats.by_name(word) if word else None), codec


def format_of(location: Location, parameter: str) -> Format:
    """The format that a location's name tells, under its codec's suffix.

    Raises ``RefusedSuffix``, whose remedy is the keyword argument ``parameter``. Of a
    wildcard, only what stands behind the last of its characters is looked at.
    """
    name = location.name
    if location.is_glob:
        name = "x" + re.split(r"[*?\]]", location.target)[-1].rpartition("/")[2]
    name = split_name(name)[0]
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    found = formats.from_suffix(suffix)
    if found is None and suffix in _KINDS:
        raise RefusedSuffix(str(location), suffix, parameter)
    return found or formats.default()


def codec_of(location: Location) -> Codec | None:
    """The codec that a location's name tells."""
    return split_name(location.name)[1]


def without_suffixes(name: str) -> str:
    """A file name without the suffixes of its codec and format.

    >>> without_suffixes("a.b.jsonl.gz")
    'a.b'
    """
    plain = split_name(name)[0]
    stem, dot, suffix = plain.rpartition(".")
    return stem if dot and stem and formats.from_suffix(suffix) else plain
