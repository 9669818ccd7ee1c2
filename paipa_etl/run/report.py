"""Report: what a run did, in counts that add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from paipa_etl.errors import PlanError
from paipa_etl.metrics.meter import Tally

if TYPE_CHECKING:
    from paipa_etl.metrics.view import View


def _as_of_now(count: Callable[[], int] | None) -> Callable[[], int] | None:
    """A function that can be pickled and gives the present number."""
    return None if count is None else partial(int, count())


@dataclass(slots=True, eq=False)
class StepCount:
    """What became of the records that one step was given.

    An opaque step (a plain callable) may do as it likes: only what it gave is
    counted, and ``filtered`` or ``expanded`` are the difference, named after it.
    """

    name: str
    opaque: bool = False
    given: int = 0
    filtered: int = 0
    skipped: int = 0
    expanded: int = 0
    folded: int = 0
    left_over: int = 0
    retried: int = 0
    taken: Callable[[], int] | None = None
    """How many records reached the step, where a channel stands before it that may hold some."""
    parts: list[StepCount] = field(default_factory=list)
    """One for each of its workers: no two threads write the same number."""

    entered: int = 0
    """How many records a worker has had in hand."""
    _whole: StepCount | None = None
    _tally: Tally | None = None

    @property
    def whole(self) -> StepCount:
        """The counts of the step, of which these may be one worker's."""
        return self._whole or self

    def report_taken(self, taken: Callable[[], int]) -> None:
        """Say who knows how many records reached the step."""
        self.taken = taken

    def became(self, items: int) -> None:
        """Count that a record became so many, one of which counts as the record itself."""
        if items:
            self.expanded += items - 1
        else:
            self.filtered += 1

    def part(self) -> StepCount:
        """The counts of one worker of the step."""
        part = StepCount(self.name, self.opaque, _whole=self)
        self.parts.append(part)
        return part

    def tallied(self, given: Iterable[Any]) -> Iterator[Any]:
        """What an opaque step gives, counted on its way; one after the other, for fresh ones."""
        if self._tally is not None:
            self.given += self._tally.count
        self._tally = Tally(given)
        return self._tally

    def total(self) -> StepCount:
        """The counts of all of its workers together."""
        total = replace(self, parts=[])
        total.given += self._tally.count if self._tally else 0
        for part in self.parts:
            for name in ("given", "filtered", "skipped", "expanded", "folded", "retried"):
                setattr(total, name, getattr(total, name) + getattr(part, name))
        return total

    def __reduce__(self) -> tuple[object, ...]:
        """The numbers as of now, of all workers together."""
        one = self.total()
        numbers = (one.given, one.filtered, one.skipped, one.expanded, one.folded, one.left_over)
        taken = _as_of_now(one.taken)
        return StepCount, (one.name, one.opaque, *numbers, one.retried, taken, [], one.entered)

    def out(self, entered: int) -> int:
        """How many records left the step, of those that entered it."""
        if self.opaque:
            return self.given
        return entered + self.expanded - self.filtered - self.skipped - self.folded - self.left_over


@dataclass(slots=True)
class Counts:
    """The counts of a run, kept a batch at a time; always on."""

    steps: list[StepCount] = field(default_factory=list)
    read: int = 0
    unread: Callable[[], int] = lambda: 0
    """Records of the batch in flight that were not handed on yet."""
    bad: int = 0
    """Records that could not be decoded, and were skipped."""
    unencodable: int = 0
    written: int = 0
    tally: Tally | None = None
    """Records that went to whoever takes them, where that is no sink."""
    taken: Callable[[], int] | None = None
    """How many records reached the sink, where a channel stands before it."""
    bytes_in: Callable[[], int] = lambda: 0
    bytes_out: int = 0

    def report_unread(self, unread: Callable[[], int]) -> None:
        """Say who knows how many records of the batch in flight were not handed on yet."""
        self.unread = unread

    def report_taken(self, taken: Callable[[], int]) -> None:
        """Say who knows how many records reached the sink."""
        self.taken = taken

    def report_bytes_in(self, bytes_in: Callable[[], int]) -> None:
        """Say who knows how many bytes were read."""
        self.bytes_in = bytes_in

    def tallied(self, records: Iterator[Any]) -> Iterator[Any]:
        """Count records as somebody takes them, where no sink does."""
        self.tally = Tally(records)
        return self.tally

    def out(self) -> int:
        """The records that were written or taken."""
        return self.written + (self.tally.count if self.tally else 0)

    def __reduce__(self) -> tuple[object, ...]:
        """The numbers as of now: another process gets no part of the run."""
        unread, bytes_in = _as_of_now(self.unread), _as_of_now(self.bytes_in)
        read = (self.steps, self.read, unread, self.bad, self.unencodable)
        return Counts, (*read, self.out(), None, _as_of_now(self.taken), bytes_in, self.bytes_out)

    def add_step(self, name: str) -> StepCount:
        """A line of counts for one more step."""
        self.steps.append(StepCount(name))
        return self.steps[-1]


@dataclass(slots=True)
class StepReport:
    """One step's line of a report."""

    name: str
    records_in: int
    records_out: int
    opaque: bool
    retried: int = 0


@dataclass(slots=True)
class Report:
    """What a run did.

    ``read + expanded == written + filtered + skipped + folded + left_over`` wherever
    every step is a ready one. A plain callable's part in ``expanded`` and
    ``filtered`` is what went in and did not come out: it is shown, and no proof.
    ``read`` counts what was handed to the first step, and bad records; sizes are in
    bytes, before decoding and after encoding; times in seconds.
    """

    read: int = 0
    written: int = 0
    filtered: int = 0
    skipped: int = 0
    expanded: int = 0
    folded: int = 0
    left_over: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    steps: list[StepReport] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """The first few skipped records, and what failed beside the first error: what, and where."""
    view: View | None = field(default=None, repr=False, compare=False)
    """What a debugger saw of the run, where one looked (``paipa_etl.debugger.View``)."""

    def add(self, one: Report) -> None:
        """Add the counts and the sizes of another run."""
        for name in ("read", "written", "filtered", "skipped", "expanded", "folded", "left_over"):
            setattr(self, name, getattr(self, name) + getattr(one, name))
        self.bytes_in += one.bytes_in
        self.bytes_out += one.bytes_out

    @property
    def balanced(self) -> bool:
        """Whether the counts add up."""
        gone = self.filtered + self.skipped + self.folded + self.left_over
        return self.read + self.expanded == self.written + gone

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON; with all that a debugger saw, as ``debug``."""
        told = asdict(replace(self, view=None)) | {"balanced": self.balanced}
        del told["view"]
        return told | ({"debug": self.view.to_dict()} if self.view is not None else {})

    def to_html(self) -> str:
        """The run as one page that needs no network.

        Raises ``PlanError`` where no debugger looked.
        """
        if self.view is None:
            raise PlanError("the page shows what a debugger saw: run(debugger=Debugger())")
        return self.view.to_html()

    def __str__(self) -> str:
        words = [f"{self.read:,} read", f"{self.written:,} written"]
        for name in ("filtered", "skipped", "expanded", "folded", "left_over"):
            if count := getattr(self, name):
                words.append(f"{count:,} {name.replace('_', ' ')}")
        words.append(f"{self.bytes_in / 1e6:,.1f} MB in")
        words.append(f"{self.bytes_out / 1e6:,.1f} MB out")
        return f"{', '.join(words)}, {self.seconds:.2f} s"


def report_of(counts: Counts, seconds: float, errors: list[str]) -> Report:
    """The report of a run, of what its counts are now."""
    handed = counts.read - counts.unread()
    report = Report(
        read=handed + counts.bad,
        skipped=counts.bad + counts.unencodable,
        written=counts.out(),
        bytes_in=counts.bytes_in(),
        bytes_out=counts.bytes_out,
        seconds=seconds,
        errors=list(errors),
    )
    entered = handed
    for step in [step.total() for step in counts.steps]:
        if step.taken is not None:
            taken = step.taken()
            report.left_over += entered - taken
            entered = taken
        left = step.out(entered)
        difference = left + step.skipped - entered if step.opaque else 0
        report.filtered += step.filtered + max(-difference, 0)
        report.expanded += step.expanded + max(difference, 0)
        report.skipped += step.skipped
        report.folded += step.folded
        report.left_over += step.left_over
        report.steps.append(StepReport(step.name, entered, left, step.opaque, step.retried))
        entered = left
    if counts.taken is not None:
        report.left_over += entered - counts.taken()
    return report
