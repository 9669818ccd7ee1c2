"""One JSON text: whether it is valid, its value, and back. The only place that imports orjson.

orjson decodes and encodes, because it is the fastest; msgspec decodes where a number
has so many digits that orjson would round it, and the standard library encodes what
orjson cannot (integers beyond 64 bits, nesting beyond 254). What is valid never depends
on whether a text is decoded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from paipa_etl.errors import BadRecord, shown
from paipa_etl.formats.kernels import LineEncoder, holds_nan
from paipa_etl.formats.nesting import MAX_DEPTH, is_deep
from paipa_etl.threads import forks
from paipa_etl.threads.interrupts import held_back

with held_back():  # interrupted in the middle of its import, orjson brings the interpreter down
    import msgspec
    import orjson

T = TypeVar("T")

decode_plain = orjson.loads
"""The fastest decoder, exact for texts of which ``kernel.needs_care`` says no."""
decode_value = msgspec.json.Decoder().decode
_check_structure = msgspec.json.Decoder(msgspec.Raw).decode
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BEYOND_ORJSON = ("Integer exceeds 64-bit range", "Recursion limit reached")


def check(text: bytes) -> None:
    """Raise ``BadRecord`` unless the text is one JSON value, in UTF-8, at most 500 deep."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(f"not UTF-8 at byte {error.start:,} of the record") from None
    if is_deep(text):
        raise BadRecord(f"nested deeper than {MAX_DEPTH}")
    try:
        _deeply(_check_structure, text)
    except msgspec.DecodeError as error:
        raise BadRecord(_reworded(str(error), text)) from None


def decode(text: bytes) -> Any:
    """The value of a text; ``BadRecord`` when it is invalid, or Python cannot make the value.

    What is valid is the grammar's to say: a number beyond the range of a double is an
    infinity. Python makes integers of up to ``sys.get_int_max_str_digits()`` digits.
    """
    check(text)
    try:
        return _deeply(decode_value, text)
    except msgspec.DecodeError:  # it refuses numbers that the grammar allows
        pass
    try:
        return _deeply(json.loads, text)
    except ValueError:
        digits = f"{sys.get_int_max_str_digits():,}"
    raise BadRecord(f"an integer of more than {digits} digits, the most that Python makes")


def _reworded(message: str, text: bytes) -> str:
    """Msgspec's message for people: it reports half a surrogate pair as a truncated text."""
    message = message.removeprefix("JSON is malformed: ")
    if message == "Input data was truncated":
        half = _SURROGATE.search(text)
        return "half a surrogate pair in a string" if half else "the JSON value is cut off"
    if "surrogate" in message:
        return f"half a surrogate pair in a string: {message}"
    return f"not valid JSON: {message}"


def encode(value: Any) -> bytes:
    """The value as compact JSON; ``BadRecord`` for what JSON cannot hold, NaN among it."""
    return encode_line(value)[:-1]


def encode_line(value: Any) -> bytes:
    """The same, ended by a newline."""
    try:
        text = orjson.dumps(value, None, orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        text = _encode_beyond(value, error) + b"\n"
    if holds_nan(text, value):
        raise BadRecord(f"JSON cannot hold NaN or an infinity: {shown(value)}")
    return text


encode_fast = LineEncoder(orjson.dumps, orjson.OPT_APPEND_NEWLINE, encode_line)
"""The same as ``encode_line``; faster where orjson alone knows the line."""


def _encode_beyond(value: Any, error: Exception) -> bytes:
    if not str(error).startswith(_BEYOND_ORJSON):
        raise BadRecord(f"JSON cannot hold this: {error}: {shown(value)}") from None
    try:
        text = _deeply(_STANDARD.encode, value).encode()
        _check_keys(value)  # behind the encoding, which ends at a circle
    except (ValueError, TypeError, RecursionError) as failure:
        raise BadRecord(f"JSON cannot hold this: {failure}: {shown(value)}") from None
    if is_deep(text):
        raise BadRecord(f"nested deeper than {MAX_DEPTH}: {shown(text)}")
    return text


def _check_keys(value: Any) -> None:
    """Refuse a key that is no text, as orjson does: the standard library would make it one."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise TypeError("Dict key must be str")
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _other(value: Any) -> Any:
    """What orjson makes of a date, a UUID, a data class …, for the standard library."""
    return json.loads(orjson.dumps(value))


_STANDARD = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other
)
_raised = forks.lock()


def _deeply(function: Callable[[Any], T], argument: Any) -> T:
    """Call a function that recurses as deep as a record may nest, however deep the stack is."""
    try:
        return function(argument)
    except RecursionError:
        with _raised:
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(limit + 4 * MAX_DEPTH)
            try:
                return function(argument)
            finally:
                sys.setrecursionlimit(limit)
