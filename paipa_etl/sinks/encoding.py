"""Encoding of one output: the format's writer from its first records to its end."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from paipa_etl.errors import BadRecord
from paipa_etl.failures import Failure, Place
from paipa_etl.formats import BadSample, Columns, Context, Encode, Format, Options
from paipa_etl.records.batch import Kept, size_of
from paipa_etl.records.blocks import Copy
from paipa_etl.run import Run

STAGE = "the sink"


class Sampled(NamedTuple):
    """A record that waits until the writer has settled, and where it came from."""

    record: Any
    place: Place | None
    raw: bytes | None

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return size_of((self.record,)) if self.raw is None else len(self.raw)


class Encoding:
    """Encoded bytes of one output, which ``take`` hands over; used by one thread.

    Keeps what was added since the last ``take``; before the writer has settled, as many
    records as it wants to see. A record that cannot be encoded is a failure of the run.
    """

    def __init__(self, format: Format, options: Options | None, run: Run) -> None:
        self._format, self._run = format, run
        self._writer = format.writer(format.check_options(options))
        self.separator, self.terminator = self._writer.separator, self._writer.terminator
        self._sample: list[Sampled] = []
        self._sample_size = 0
        self._columns: Columns | None = None
        self._inputs = 0
        self._out = bytearray()
        self._count = 0
        self._begun = False
        self._context: Context = None
        self.is_settled = False
        """Whether the writer has settled, so that records can be encoded as they come."""
        if not self._writer.settles:
            self.settle()

    @cached_property
    def encode(self) -> Encode:
        """Encodes one record; only for a writer that has settled.

        Made when it is first used: a copy encodes nothing, and needs no library for it.
        """
        return self._writer.encoder(self._context)

    def copies(self, format: Format, context: Context) -> Copy | None:
        """How untouched records of an input are written from their raw bytes; None: encode them.

        Asked for each input of which no step changes the records: the columns of the output
        are those of the input, where all inputs so far have the same.
        """
        columns = format.columns(context)
        self._columns = columns if not self._inputs or columns == self._columns else None
        self._inputs += 1
        if not self.is_settled:
            return None
        return self._format.copies_from(format, context, self._context)

    def add(self, record: Any) -> int:
        """Encode one record; returns how many bytes wait to be taken."""
        if not self.is_settled:
            self._add_to_sample(Sampled(record, *self._run.cursor.where()))
            return len(self._out)
        try:
            line = self.encode(record)
        except BadRecord as error:
            self._fail(error, *self._run.cursor.where())
            return len(self._out)
        return self._append(line)

    def add_kept(self, kept: Kept) -> int:
        """Add a record that no step has changed; returns how many bytes wait to be taken."""
        if kept.copies is None:
            return self.add(kept.record)
        copy = kept.copies.record
        self._append(kept.raw if copy is None else copy(kept.raw))
        self._out += self.terminator
        return len(self._out)

    def _append(self, line: bytes) -> int:
        self._out += self.separator
        self._out += line
        self._count += 1
        return len(self._out)

    def take(self) -> tuple[bytes | bytearray, int]:
        """What was encoded and not taken yet, and how many records it is."""
        out, count = self._out, self._count
        self._out, self._count = bytearray(), 0
        return self.framed(out), count

    def forget(self) -> None:
        """Drop what was not taken: in a forked child it is a copy of what the parent writes."""
        self._out, self._count, self._sample = bytearray(), 0, []

    def framed(self, data: bytes | bytearray) -> bytes | bytearray:
        """The next encoded records as bytes of the output, which begins before the first."""
        if self._begun or not data:
            return data
        self._begun = True
        begin = self._writer.begin()
        skipped = len(self.separator)
        return begin + data[skipped:] if begin or skipped else data

    def finish(self) -> tuple[bytes | bytearray, int]:
        """The last bytes of a whole output, and how many records they are."""
        self.settle()
        data, count = self.take()
        begin = b"" if self._begun else self._writer.begin()
        self._begun = True
        end = self._writer.end()
        return (begin + data + end if begin or end else data), count

    def show(self) -> None:
        """The output is live and the input silent: the records that came settle the writer."""
        self._settle_when(lambda: bool(self._sample))

    def settle(self) -> None:
        """Give the writer the records that came; from now on, records are encoded as they come."""
        self._settle_when(lambda: True)

    def _settle_when(self, is_enough: Callable[[], bool]) -> None:
        """The same where the sample is enough, without the records that the writer refuses."""
        while not self.is_settled and is_enough():
            try:
                records = [one.record for one in self._sample]
                self._context = self._writer.settle(records, self._columns)
            except BadSample as error:
                bad = self._sample.pop(error.index)
                self._sample_size -= bad.size
                self._fail(error, bad.place, bad.raw)
            else:
                self._encode_sample()

    def _encode_sample(self) -> None:
        self.is_settled = True
        sample, self._sample = self._sample, []
        for record, place, raw in sample:
            try:
                self._append(self.encode(record))
            except BadRecord as error:
                self._fail(error, place, raw)

    def _add_to_sample(self, sampled: Sampled) -> None:
        self._sample.append(sampled)
        self._sample_size += sampled.size
        self._settle_when(self._is_sample_full)

    def _is_sample_full(self) -> bool:
        wanted = self._writer.sample
        return len(self._sample) >= wanted.records or self._sample_size >= wanted.size

    def _fail(self, error: BadRecord, place: Place | None, raw: bytes | None) -> None:
        self._run.policy.decide(Failure(error, STAGE, place, raw))
        self._run.counts.unencodable += 1
