"""FileSource: locations as one stream of batches; codec by magic bytes, format by name."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from paipa_etl import codecs
from paipa_etl.codecs import Codec
from paipa_etl.codecs.members import MemberDecoder, Restart
from paipa_etl.errors import BadRecord, BrokenInput, DamagedInput, PaipaWarning, PlanError
from paipa_etl.failures import Failure
from paipa_etl.formats import Context, Format, Options, Reader
from paipa_etl.location import Location
from paipa_etl.metrics.observer import CODEC, SOURCE, STORE, WAITS
from paipa_etl.records.batch import Batch, decoded, validated
from paipa_etl.records.blocks import BLOCK, DECODED_BLOCK, MAX_RECORD, Block, Copy, Limits
from paipa_etl.records.places import Origin, SourceBlock
from paipa_etl.run import Run
from paipa_etl.schemes import LOCAL
from paipa_etl.sources import ReadStore, Source, store_of
from paipa_etl.sources.in_turn import in_turn
from paipa_etl.sources.pieces import Input, Piece, Restarts, size_of_piece
from paipa_etl.stores import NO_OPTIONS, StoreOptions
from paipa_etl.stores.buckets import check_not_folder
from paipa_etl.stores.port import Entry
from paipa_etl.suffixes import RefusedSuffix, codec_of, format_of, refused_input
from paipa_etl.threads.ahead import AHEAD, read_ahead
from paipa_etl.threads.channel import Channel
from paipa_etl.threads.stop import Stop, Stopped

Copies = Callable[[Format, Context], Copy | None]
"""How the sink writes untouched records of an input from their raw bytes; None: it encodes them."""


def copies_nothing(format: Format, context: Context) -> Copy | None:
    """Copy no raw bytes: a flow of records has no sink."""
    return None


@dataclass(frozen=True)
class FileSource(Source):
    """Locations as one stream, in order; each ends its own last record and counts its own.

    Keeps one block (128 KiB, or one record up to ``max_record`` bytes), one trip of
    the decoder, and what is read ahead (2 MiB) where that is asked for.
    """

    locations: tuple[Location, ...]
    format: Format | None = None
    codec: Codec | None = None
    max_record: int = MAX_RECORD
    read_ahead: bool = False
    options: StoreOptions = NO_OPTIONS
    format_options: Options | None = None
    _used: list[bool] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        for place in self.locations:
            check_not_folder(place, output=False)
            format = self.format_of(place)  # a suffix that is refused is an error of the plan
            if not place.is_glob:
                self._options_of(format)

    def __str__(self) -> str:
        return " + ".join(map(str, self.locations))

    def entries(self, run: Run) -> Iterator[Entry]:
        """The inputs, wildcards expanded as they are reached; raises when one matches nothing."""
        for place in self.locations:
            yield from self.expand(place, run)

    def expand(self, place: Location, run: Run) -> Iterable[Entry]:
        """The inputs that one of the locations stands for."""
        return self._store(place).expand(place, run, self.options)

    def size(self, run: Run) -> int | None:
        """The bytes that will be read, where every store tells."""
        total = 0
        for entry in self.entries(run):
            if entry.size is None:
                place = entry.location
                entry = self._store(place).stat(place, run, self.options)
            if entry.size is None:
                return None
            total += entry.size
        return total

    @property
    def needs_reading_thread(self) -> bool:
        """Whether a separate thread for reading and decompression saves time.

        False if every input is an uncompressed regular file: the operating system reads such
        files ahead, and handing pieces to another thread costs as much as reading them.
        """
        coded = self.codec or any(map(codec_of, self.locations))
        return bool(coded) or not all(map(_is_regular, self.locations))

    def _store(self, place: Location) -> ReadStore:
        return store_of(place, self.options.allow_schemes)

    def blocks(
        self, run: Run, size: int, copies: Copies = copies_nothing
    ) -> Generator[SourceBlock, None, None]:
        """Blocks of about ``size`` bytes of all inputs, numbered, none of them decoded.

        The records of one are done before the next is asked for. ``copies`` is asked for each
        input when its context is known. A record that is too long is a failure.
        """
        self._use_once()
        pieces: Any = self._pieces(run)
        if self.read_ahead or (run.background and self.needs_reading_thread):
            channel: Channel[Piece] = Channel(run.budget.share(AHEAD))
            run.observer.channel(channel, SOURCE, SOURCE)
            pieces = read_ahead(pieces, size_of_piece, run.stops.reading, channel, run.end)
            pieces = run.observer.timed(pieces, SOURCE, WAITS)
        with run.reading(), closing(pieces):
            for source, group in groupby(pieces, attrgetter("source")):
                yield from self._blocks_of(source, group, run, size, copies)

    def batches(
        self, run: Run, reads: bool, copies: Copies = copies_nothing
    ) -> Generator[Batch, None, None]:
        """The batches of all inputs; each record valid, whether it is decoded or not.

        Records are decoded where a step reads them, or where they are not copied.
        """
        size = DECODED_BLOCK if reads else BLOCK
        with closing(self.blocks(run, size, copies)) as blocks:
            for given in blocks:
                if not given.block.data:
                    run.idle()
                    continue
                batch = decoded(given) if reads or not given.copies else validated(given)
                yield from _checked(batch, run)

    def records(self, run: Run) -> Iterator[Any]:
        """The records, one by one."""
        with closing(self.batches(run, reads=True)) as batches:
            yield from run.cursor.records(batches)

    def _use_once(self) -> None:
        once = [place for place in self.locations if self._store(place).once(place)]
        if self._used and once:
            raise PlanError(f"{once[0]} can be read only once, and was")
        self._used.append(True)

    def format_of(self, location: Location) -> Format:
        """The format that was asked for, or that the name tells; raises ``RefusedSuffix``."""
        return self.format or format_of(location, "from_")

    def _blocks_of(
        self, source: Input, pieces: Iterable[Piece], run: Run, size: int, copies: Copies
    ) -> Iterator[SourceBlock]:
        try:
            format = self.format_of(source.location)
        except RefusedSuffix as error:  # a wildcard stood for it: that shows only now
            raise refused_input(error) from None
        reader = format.reader(self._options_of(format), Limits(self.max_record, size))
        restarts, origin, context = Restarts(), None, None
        first = line = 1
        for block in _cut(reader, restarts.passing(pieces), source):
            line += block.skipped_lines
            block.position = restarts.complete(block.position, line)
            if origin is None or (block.data and block.context is not context):
                context = block.context
                origin = Origin(source, format.decoder(context))
                raw = copies(format, context)
            given = SourceBlock(block, origin, first, raw)
            if block.oversize:
                self._too_long(given, run)
            else:
                yield given
            first += given.count
            line += given.physical_lines if block.data else 0

    def _options_of(self, format: Format) -> Options:
        return format.check_options(self.format_options)

    def _too_long(self, given: SourceBlock, run: Run) -> None:
        problem = f"longer than the {self.max_record:,} bytes that a record may have"
        error = BadRecord(problem, parameter="max_record")
        given.count = 1
        place = given.places.of(0)
        run.policy.decide(Failure(error, "", place, given.block.data))
        run.counts.bad += 1

    def _pieces(self, run: Run) -> Generator[Piece, None, None]:
        """Decoded bytes of every input, each piece with the input that it is from."""
        read = _Tally()
        run.counts.report_bytes_in(lambda: read.total)
        stop = run.stops.reading
        with closing(in_turn(self.entries(run), partial(self._open, run), run)) as inputs:
            for location, raw in inputs:
                source = Input(location)
                try:
                    raw = run.observer.timed(_counted(raw, read, stop), SOURCE, STORE)
                    decoded = self._decoded(location, raw)
                    for data, restarts in run.observer.timed(decoded, SOURCE, CODEC):
                        yield Piece(source, data, restarts)
                except DamagedInput as error:
                    raise DamagedInput(error.problem, error.byte, str(source)) from error.__cause__

    def _open(self, run: Run, location: Location) -> Generator[bytes, None, None]:
        return self._store(location).pieces(location, run, self.options)

    def _decoded(
        self, location: Location, raw: Iterator[bytes]
    ) -> Iterator[tuple[bytes, list[Restart] | None]]:
        """Decoded pieces, each with its restart points, where the input is encoded."""
        head = b""
        for piece in raw:
            head += piece
            if not codecs.may_be_magic(head):
                break
        codec = self._choose_codec(location, head)
        if codec is None:
            for piece in chain((head,) if head else (), raw):
                yield piece, None
            return
        decoder = MemberDecoder(codec.name, codec.member, codec.padding)
        for piece in chain((head,) if head else (), raw):
            for data in decoder.feed(piece) if piece else (b"",):
                yield data, decoder.take_restarts()
        decoder.finish()

    def _choose_codec(self, location: Location, head: bytes) -> Codec | None:
        """The codec of the magic bytes; they win over the name, with a warning."""
        named = self.codec or codec_of(location)
        found = codecs.detect(head)
        if found is None or found is named:
            return named
        if self.codec or location.name:
            said = f"not {named.name}" if named else "though nothing says so"
            warnings.warn(f"{location} holds {found.name} data, {said}", PaipaWarning, stacklevel=2)
        return found


def _cut(reader: Reader, pieces: Iterable[bytes], source: Input) -> Iterator[Block]:
    """The blocks of an input; an error about its framing names the input."""
    try:
        yield from reader.cut(pieces)
    except BrokenInput as error:
        raise BrokenInput(error.problem, error.line, error.byte, str(source)) from None


def _is_regular(place: Location) -> bool:
    """Whether a location is the path of an existing regular file."""
    if place.scheme != LOCAL or place.is_glob:
        return False
    try:
        return stat.S_ISREG(os.stat(place.target).st_mode)
    except (OSError, ValueError):
        return False


class _Tally:
    """How many bytes were read, of all inputs; written by one thread, read by any."""

    total = 0


def _counted(raw: Iterator[bytes], tally: _Tally, stop: Stop) -> Iterator[bytes]:
    for piece in raw:
        if stop.is_set:
            raise Stopped
        tally.total += len(piece)
        yield piece
        if stop.is_foreign:  # to read on would be to take bytes that the parent waits for
            raise Stopped


def _checked(batch: Batch, run: Run) -> Iterator[Batch]:
    """The batch, after the policy has decided on its bad records.

    Where the first bad one ends the run, the good ones before it come first.
    """
    good = batch.before_faults() if batch.faults and run.policy.fails else batch
    run.counts.read += len(good)
    if len(good):
        yield good
    for index, error, raw in batch.faults:
        run.policy.decide(Failure(error, "", batch.places.of(index), raw))
        run.counts.bad += 1
