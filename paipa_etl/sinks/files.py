"""FileSink: records or raw lines through a format and a codec to one location."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, overload

from paipa_etl.codecs import Codec
from paipa_etl.errors import ForkedChild, OutputError, PlanError
from paipa_etl.formats import Format, Options
from paipa_etl.location import Location, parse
from paipa_etl.metrics.observer import ROOM, SINK, STORE
from paipa_etl.records.batch import Batch, Kept
from paipa_etl.records.blocks import BLOCK
from paipa_etl.run import Run, new_run
from paipa_etl.schemes import LOCAL
from paipa_etl.sinks import Sink, Target, store_of
from paipa_etl.sinks.compressed import Encoded
from paipa_etl.sinks.encoding import Encoding
from paipa_etl.stores import NO_OPTIONS, StoreOptions
from paipa_etl.stores.buckets import check_not_folder
from paipa_etl.suffixes import codec_of, format_of, parse_suffixes
from paipa_etl.threads import forks
from paipa_etl.threads.behind import BEHIND, WriteBehind
from paipa_etl.threads.collector import apart
from paipa_etl.threads.interrupts import put_off
from paipa_etl.threads.starting import surely
from paipa_etl.threads.stop import Stopped

if TYPE_CHECKING:
    from paipa_etl.sinks.lists import ListSink


class Disowned:
    """What stands for a target in a forked child: it takes nothing, and has nothing to undo."""

    live = cached = False

    def __init__(self, location: Location, process: int) -> None:
        self._location, self._process = location, process

    def write(self, data: bytes | bytearray = b"") -> None:
        """Refuse."""
        raise ForkedChild(self._location, self._process)

    pause = prepare = finish = commit = write

    def abort(self, cause: BaseException) -> None:
        """Leave it to the parent."""


class OpenFile:
    """An opened sink. Keeps one block of encoded records, and what is written behind.

    What compresses or waits for a network is written by a thread of its own, 1 MiB
    behind; a copy into the kernel's cache takes less than handing it over would.
    """

    def __init__(self, sink: FileSink, run: Run) -> None:
        self._run = run
        self._codec = sink.output_codec
        compressor = self._codec.start_compressor(sink.level) if self._codec else None
        location, options = sink.location, sink.options
        store = store_of(location, options.allow_schemes)
        self._target: Target = store.open(location, sink.clobber, run, options)
        self._location = location
        self._output: Encoded | WriteBehind | Disowned = Encoded(self._target, compressor, run)
        slow = compressor is not None or not self._target.cached
        if run.background and slow and not self._target.live:
            self._output = WriteBehind(self._output, run.abort, run.budget.share(BEHIND))
            run.observer.channel(self._output.channel, SINK, SINK)
        self.encoding = Encoding(sink.output_format, sink.format_options, run)
        self._closed = self._prepared = False
        forks.own(self)

    @property
    def live(self) -> bool:
        """Whether a reader sees at once what is written."""
        return self._target.live

    def write_batch(self, batch: Batch) -> None:
        """Pass on a batch's raw bytes, or its records where they are to be encoded."""
        if not batch.copies:
            self.write_all(self._run.cursor.enter(batch))
            return
        self._flush()
        data = batch.encoded(self.encoding.separator, self.encoding.terminator)
        self._write(self.encoding.framed(data), len(batch))

    def write_piece(self, data: bytes | bytearray, count: int) -> None:
        """Write encoded records, of which each was encoded by ``encoding.encode``."""
        self._write(self.encoding.framed(data), count)

    def write_kept(self, records: Iterable[Kept]) -> None:
        """Write records that no step has changed, by their raw bytes where that may be."""
        for kept in records:
            if self.encoding.add_kept(kept) >= BLOCK:
                self._flush()

    def write_all(self, records: Iterable[Any]) -> None:
        """Write records as they come; what came before a failure is kept."""
        if self._closed:
            self._refuse()
        add = self.encoding.add
        for record in records:
            if add(record) >= BLOCK:
                self._flush()

    def _refuse(self) -> NoReturn:
        if isinstance(self._target, Disowned):
            self._target.write()
        raise PlanError("the sink is closed: no record can follow its end")

    def write(self, record: Any) -> None:
        """Write one record."""
        self.write_all((record,))

    def _flush(self) -> None:
        self._write(*self.encoding.take())

    def _write(self, data: bytes | bytearray, count: int) -> None:
        if not data:
            return
        with self._run.observer.section(SINK, ROOM):
            self._output.write(data)
        self._run.counts.written += count

    def show(self) -> None:
        """Have everything that was written seen by readers, where the output is live."""
        if not self._target.live:
            return
        self.encoding.show()
        self._flush()
        self._output.pause()

    def prepare(self) -> None:
        """Have the whole output at its store, so that only publishing it is left."""
        self._closed = True
        self._write(*self.encoding.finish())
        with self._run.observer.section(SINK, ROOM):
            self._output.finish()
        prepare = getattr(self._target, "prepare", None)
        if prepare is not None:
            with self._run.observer.section(SINK, STORE):
                prepare()
        self._prepared = True

    def commit(self) -> None:
        """Publish the whole output."""
        if not self._prepared:
            self.prepare()
        with self._run.observer.section(SINK, STORE):
            self._target.commit()

    def publish(self) -> None:
        """The end of a sink that is used alone: all of it is published, or nothing."""
        try:
            self.prepare()
            with self._run.publication.publishing():
                self.commit()
        except BaseException as failure:
            if not self._run.publication.is_done:
                self.abort(failure)
            raise

    def abort(self, cause: BaseException) -> None:
        """Leave what was there before; of a live output, show what came before the cause."""
        self._closed = True
        try:
            if self._target.live and _may_still_write(cause):
                # Before the wait for room is ended. The cause is what the caller must see.
                with suppress(OutputError, BrokenPipeError, Stopped):
                    self._show_the_cut()
        finally:
            surely(self._run.stops.output.set)
            if isinstance(self._output, WriteBehind):
                self._output.abort()
            with put_off():
                self._target.abort(cause)

    def disown(self) -> None:
        """In a forked child: the parent writes and publishes, and what is kept here is a copy."""
        forks.keep((self._target, self._output))  # to finalize them could remove or publish
        self._closed = True
        self.encoding.forget()
        self._target = self._output = Disowned(self._location, self._run.process)

    def close(self) -> None:
        """Give back what stores kept open for a sink that is used alone."""
        self._run.close_clients()

    def _show_the_cut(self) -> None:
        """Have the good records seen; never by the end of a stream, which would look whole."""
        self._flush()
        if self._codec is None or self._codec.flushes:
            self._output.pause()


def _may_still_write(cause: BaseException) -> bool:
    """Whether the output is not what failed; nor an interrupt, which must not wait for a reader."""
    return isinstance(cause, Exception) and not isinstance(cause, (OutputError, BrokenPipeError))


@dataclass(frozen=True)
class FileSink(Sink):
    """One location, with the format and codec that were asked for or that its name tells."""

    location: Location
    format: Format | None = None
    codec: Codec | None = None
    level: int | None = None
    clobber: bool = True
    options: StoreOptions = NO_OPTIONS
    format_options: Options | None = None
    _opened: list[OpenFile] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_not_folder(self.location, output=True)
        # A suffix that is refused is an error of the plan.
        self.output_format.check_options(self.format_options)
        if self.level is None:
            return
        if self.output_codec is None:
            raise PlanError(f"a level is for a compressed output; {self.location} is not one")
        self.output_codec.check_level(self.level)

    @property
    def output_codec(self) -> Codec | None:
        """The codec of the output."""
        return self.codec or codec_of(self.location)

    @property
    def output_format(self) -> Format:
        """The format of the output."""
        return self.format or format_of(self.location, "to")

    def open(self, run: Run) -> OpenFile:
        """Open the output; nothing is published before its ``commit``."""
        return OpenFile(self, run)

    def __enter__(self) -> OpenFile:
        if self._opened:
            raise PlanError(f"{self.location} is open already")
        self._opened.append(self.open(new_run()))
        return self._opened[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        file = self._opened.pop()
        apart(partial(_leave, file, error))

    def __str__(self) -> str:
        return str(self.location)


def _leave(file: OpenFile, error: BaseException | None) -> None:
    try:
        if error is None:
            file.publish()
        else:
            file.abort(error)
    finally:
        file.close()


@overload
def write(target: list[Any]) -> ListSink: ...
@overload
def write(
    target: Any,
    *,
    to: str | None = None,
    level: int | None = None,
    clobber: bool = True,
    format_options: Mapping[str, Any] | None = None,
    options: StoreOptions = NO_OPTIONS,
) -> FileSink: ...
def write(
    target: Any,
    *,
    to: str | None = None,
    level: int | None = None,
    clobber: bool = True,
    format_options: Mapping[str, Any] | None = None,
    options: StoreOptions = NO_OPTIONS,
) -> Sink:
    """Make a sink: the end of a pipeline, or alone in a ``with`` statement.

    ``target`` is a path, a URL, ``-``, a file object, a ``bytearray``, or a list to which
    records are appended. ``to`` overrides what its suffixes say ("jsonl.zst"), ``level``
    is the codec's, ``format_options`` the format's, ``options`` the store's (see docs/stores.md).
    Leaving the ``with`` block publishes, an exception leaves what was there before.
    Raises ``PlanError`` for what cannot be.
    """
    if isinstance(target, list):
        from paipa_etl.sinks.lists import ListSink

        return ListSink(target)
    location = parse(target)
    if location.scheme != LOCAL and "*" in location.target and location.is_glob:
        raise PlanError(f"{location}: an output is one object, and that is a wildcard")
    format, codec = parse_suffixes(to)
    sink = FileSink(location, format, codec, level, clobber, options)
    if not format_options:
        return sink
    return replace(sink, format_options=sink.output_format.options_of(format_options))
