"""The loop of a block task: both forms do the same, record by record."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import extension
from hypothesis import given
from hypothesis import strategies as st

from paipa_etl import BadRecord
from paipa_etl.runners import _fill_python

compiled = extension("paipa_etl.runners._fill")
FORMS = [pytest.param(_fill_python, id="plain"), pytest.param(compiled, id="compiled")]
GONE = object()
KINDS = ["good", "slow", "none", "broken", "failing", "dropped", "unencodable"]
"""Kinds of raw records; a "broken" one ends the loop."""


@dataclass
class Work:
    """Functions that record their calls; ``ends`` are the kinds of failures that are raised."""

    ends: frozenset[str]

    def __post_init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def decode(self, raw: bytes) -> Any:
        self.calls.append(("decode", raw))
        if raw.split()[0] in (b"slow", b"none", b"broken"):
            raise ValueError(raw)
        return raw.decode()

    def decode_slowly(self, raw: bytes) -> Any:
        self.calls.append(("decode_slowly", raw))
        if raw.startswith(b"broken"):
            raise BadRecord("broken")
        return GONE if raw.startswith(b"none") else raw.decode()

    def first(self, record: Any) -> Any:
        self.calls.append(("first", record))
        return self.called(record)

    def call(self, record: Any) -> Any:
        self.calls.append(("call", record))
        return self.called(record)

    def called(self, record: Any) -> Any:
        if record.startswith("failing"):
            raise KeyError(record)
        return GONE if record.startswith("dropped") else record

    def failed(self, error: Exception) -> None:
        self.calls.append(("failed", repr(error)))
        if "failing" in self.ends:
            raise error

    def encode(self, record: Any) -> bytes:
        self.calls.append(("encode", record))
        if record.startswith("unencodable"):
            raise BadRecord("unencodable")
        return f"<{record}>".encode()

    def copy(self, raw: bytes) -> bytes:
        self.calls.append(("copy", raw))
        return b"(" + raw + b")"

    def unencodable(self, error: BadRecord) -> None:
        self.calls.append(("unencodable", str(error)))
        if "unencodable" in self.ends:
            raise error


def carried_out(form: Any, raws: list[bytes], ends: frozenset[str], limit: int, raw: bool) -> Any:
    """The pieces, what was raised, the calls, and how many raw records were taken."""
    work = Work(ends)
    functions = _fill_python.RecordFunctions(
        decode=work.decode,
        decode_slowly=work.decode_slowly,
        call=work.call,
        failed=work.failed,
        encode=None if raw else work.encode,
        copy=work.copy if raw and len(raws) % 2 else None,
        unencodable=work.unencodable,
        before=b"," if raw else b"",
        after=b"\n",
        gone=GONE,
    )
    rows, builder, pieces, raised = iter(raws), form.PieceBuilder(limit), [], None
    first = work.first
    try:
        while form.fill(functions, rows, builder, first):
            pieces.append(builder.take())
            first = work.call
    except Exception as error:
        raised = repr(error)
    pieces.append(builder.take())
    return pieces, raised, work.calls, rows.__length_hint__()


@given(
    st.lists(st.sampled_from(KINDS), max_size=30),
    st.frozensets(st.sampled_from(["failing", "unencodable"])),
    st.sampled_from([1, 20, 100, 10_000]),
    st.booleans(),
)
def test_both_forms_do_the_same(
    kinds: list[str], ends: frozenset[str], limit: int, raw: bool
) -> None:
    raws = [f"{kind} {number}".encode() for number, kind in enumerate(kinds)]
    plain = carried_out(_fill_python, raws, ends, limit, raw)
    assert plain == carried_out(compiled, raws, ends, limit, raw)
    pieces = plain[0]
    assert all(len(piece.data) >= limit for piece in pieces[:-1])


@pytest.mark.parametrize("form", FORMS)
def test_a_record_of_any_size_is_in_one_piece(form: Any) -> None:
    builder, sizes = form.PieceBuilder(100), (0, 99, 1 << 20, 50, 1 << 22)
    for size in sizes:
        builder.add(b"[", b"x" * size, b"]")
    data, count = builder.take()
    assert (bytes(data), count) == (
        b"".join(b"[" + b"x" * n + b"]" for n in (0, 99, 1 << 20, 50, 1 << 22)),
        5,
    )
    assert builder.take() == (bytearray(), 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_piece_that_was_taken_is_not_changed(form: Any) -> None:
    builder = form.PieceBuilder(10)
    assert builder.add(b"", b"0123456789", b"\n")
    data, _ = builder.take()
    kept = memoryview(data)  # while it is exported, to resize it would fail
    builder.add(b"", b"abc", b"\n")
    assert bytes(kept) == b"0123456789\n"
    assert builder.take() == (bytearray(b"abc\n"), 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("held", [0, 1, 2, 5])
def test_pieces_that_are_kept_stay_and_others_make_room(form: Any, held: int) -> None:
    builder, kept = form.PieceBuilder(1000), deque[tuple[bytearray, bytes]](maxlen=held)
    for number in range(20):
        line = b"%d" % number * (number % 3 * 400 + 1)
        builder.add(b"", line, b"\n")
        kept.append((builder.take().data, line + b"\n"))
        assert all(data == expected for data, expected in kept)


def test_the_plain_form_serves_where_there_is_no_other() -> None:
    script = """
import sys
sys.modules["paipa_etl.runners._fill"] = None
from paipa_etl import Pipeline, steps
from paipa_etl.runners import _fill_python, fill
assert fill.fill is _fill_python.fill
out = bytearray()
Pipeline(b'{"a": 1}\\n{"a": 2}\\n', [steps.map(lambda r: r["a"])], out).run()
assert out == b"1\\n2\\n", out
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
