"""Block tasks: one lazy loop over the records of a block, which decodes, calls and encodes.

One record is decoded only when the next result is asked for, so no function is called for a
record that nothing downstream has asked for. Encoded output comes in pieces of about 128 KiB,
appended to one ``bytearray``, however many or large the records become.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any

from paipa_etl.errors import BadRecord
from paipa_etl.metrics.observer import SOURCE
from paipa_etl.optimizer.fuse import BlockTask
from paipa_etl.records.batch import Kept
from paipa_etl.records.blocks import BLOCK, NoRecord
from paipa_etl.records.places import SourceBlock
from paipa_etl.run import Run
from paipa_etl.run.report import StepCount
from paipa_etl.runners.fill import Piece, PieceBuilder, RecordFunctions, fill
from paipa_etl.sinks.encoding import STAGE, Encoding
from paipa_etl.steps.contract import guarded
from paipa_etl.steps.functions import GONE, FunctionStep
from paipa_etl.steps.unchanged import compared

Call = Callable[[Any], Any]


class BoundTask:
    """A block task that a run carries out; used by one thread.

    Resources of the steps are lent until ``stack`` is left.
    """

    def __init__(self, task: BlockTask, run: Run, stack: ExitStack) -> None:
        self._run = run
        calls: list[tuple[Call, StepCount]] = []
        flows: list[Callable[[Iterator[Any]], Iterator[Any]]] = []
        for step in task.steps:
            count = run.counts.add_step(str(step))
            if flows or step.expands:
                flows.append(_flow_of(step, count, run))
            else:
                function = stack.enter_context(step.ready(run, count))
                call = run.observer.call(step.call(function, count), count, GONE)
                calls.append((call, count))
        self._flows = flows
        self._call, self._last = _composed(calls, run)
        watched = [(compared(call, count.name, run), count) for call, count in calls]
        self._compared, _ = _composed(watched, run)
        """The same as ``_call``, for the first record of a block whose raw bytes are written."""

    def records(self, blocks: Iterator[SourceBlock]) -> Iterator[Any]:
        """The records that leave the task, one by one."""
        return chain.from_iterable(map(self._of_block, blocks))

    def kept(self, blocks: Iterator[SourceBlock]) -> Iterator[Kept]:
        """The records that leave a task that changes none, each with its raw bytes."""
        return chain.from_iterable(map(partial(self._results, raw_too=True), blocks))

    def _of_block(self, block: SourceBlock) -> Iterator[Any]:
        flow: Iterator[Any] = self._results(block)
        for step in self._flows:
            flow = step(flow)
        return flow

    def _results(self, block: SourceBlock, *, raw_too: bool = False) -> Generator[Any, None, None]:
        """What the calls up to the first step that expands make of each record."""
        if not block.block.data:
            self._run.idle()
            return
        decode = self._decoder_of(block)
        call = self._compared if block.copies else self._call
        for raw in self._run.cursor.enter_rows(block):
            try:
                record = decode(raw)
            except Exception:
                record = self._decoded(block, raw)
                if record is GONE:
                    continue
            try:
                record = call(record)
            except Exception as error:
                self._failed(error)
                continue
            call = self._call
            if record is not GONE:
                yield Kept(record, raw, block.copies) if raw_too else record

    def pieces(
        self, blocks: Iterator[SourceBlock], encoding: Encoding
    ) -> Generator[Piece, None, None]:
        """Encoded pieces of the results; for blocks whose records are copied, of the raw bytes.

        A piece is not changed after it is yielded. The good records before a failure are yielded
        before the failure is raised.
        """
        assert encoding.is_settled
        builder = PieceBuilder(BLOCK)
        try:
            for block in blocks:
                if block.block.data:
                    yield from self._fill(builder, block, encoding)
                else:
                    yield builder.take()
                    self._run.idle()
        except Exception:
            yield builder.take()
            raise
        yield builder.take()

    def _fill(
        self, builder: PieceBuilder, block: SourceBlock, encoding: Encoding
    ) -> Generator[Piece, None, None]:
        """Process the records of a block; yields full pieces."""
        functions = RecordFunctions(
            decode=self._decoder_of(block),
            decode_slowly=partial(self._decoded, block),
            call=self._call,
            failed=self._failed,
            encode=None if block.copies else encoding.encode,
            copy=None if block.copies is None else block.copies.record,
            unencodable=self._unencodable,
            before=encoding.separator,
            after=encoding.terminator if block.copies else b"",
            gone=GONE,
        )
        rows = self._run.cursor.enter_rows(block)
        first = self._compared if block.copies else self._call
        while fill(functions, rows, builder, first):
            yield builder.take()
            first = self._call

    def _decoder_of(self, block: SourceBlock) -> Call:
        return self._run.observer.call(block.rows.decode, SOURCE, GONE)

    def _decoded(self, block: SourceBlock, raw: bytes) -> Any:
        """A record that the fast decoder refused; ``GONE`` where there is none, or a bad one."""
        run = self._run
        try:
            return block.origin.decoder.decode(raw)
        except NoRecord:
            run.cursor.pass_over()
        except BadRecord as error:
            run.cursor.bad_record(error, raw)
        return GONE

    def _failed(self, error: Exception) -> None:
        """A call raised: the only step's own exception, or what a policy decided on already."""
        if self._last is None or self._run.policy.is_settled(error):
            raise error
        guarded(self._run, self._last, error)

    def _unencodable(self, error: BadRecord) -> None:
        self._run.policy.decide(self._run.failure(error, STAGE))
        self._run.counts.unencodable += 1


def _flow_of(
    step: FunctionStep, count: StepCount, run: Run
) -> Callable[[Iterator[Any]], Iterator[Any]]:
    bound = step.bind(run, count)
    return lambda records: run.observer.timed(bound(records), count)


def _composed(calls: list[tuple[Call, StepCount]], run: Run) -> tuple[Call, StepCount | None]:
    """The calls as one, and the step whose exceptions it lets through.

    A single call is called as it is: another Python function around each call would cost a
    tenth of a short record's time. Of several, each handles its own exceptions.
    """
    if not calls:
        return _same, None
    if len(calls) == 1:
        return calls[0]
    guards = [_guarded(call, count, run) for call, count in calls]

    def call_all(record: Any) -> Any:
        for call in guards:
            record = call(record)
            if record is GONE:
                return GONE
        return record

    return call_all, None


def _same(record: Any) -> Any:
    return record


def _guarded(call: Call, count: StepCount, run: Run) -> Call:
    def guard(record: Any) -> Any:
        try:
            return call(record)
        except Exception as error:
            guarded(run, count, error)
            return GONE

    return guard
