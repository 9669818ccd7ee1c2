"""The verdict: what limits a run, the figures that say so, and what to do about it.

All rules are here. Each looks at a ``View`` only. A **thread** of a run is the reader (store
and codec of the source, where it is read ahead), the writer (codec and store of the sink,
where it is written behind), each step with workers, and each run of steps nested between
two channels. The one that is at work for the largest share of the time limits the run; in
it, whatever takes most of its time. Python computes in one thread at a time: workers that
together take a whole core of the processor are as busy as can be, however many they are. Who
computes and was not given a processor did not wait for anything that workers could help with.
"""

from __future__ import annotations

from dataclasses import dataclass

from paipa_etl.metrics.view import QueueView, StepView, Verdict, View

ENOUGH = 0.02  # seconds of a run from which something can be said
BUSY = 0.5  # the share of the time from which a thread may be what limits a run
SATURATED = 0.8  # the share from which the workers of a step have hardly a moment's rest
COMPUTES, WAITS = 0.7, 0.35  # shares of the processor's time in a step's own
STARVED = 0.25  # the share below which most workers of a step have nothing to do
ALIKE = 1.5  # times that what limits a thread takes what the next in it takes, at least
HELD_UP = 0.25  # the share of the time without a processor from which it is worth a word
FEW = 0.25  # the share of the processor's time below which functions hardly count
BURSTS = 0.25  # the share of the time that both ends of a queue wait, where it is too small


@dataclass
class Work:
    """A piece of what a thread does: seconds, those of the processor, and whose it is."""

    step: StepView
    part: str
    seconds: float
    cpu: float | None
    workers: int = 1

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        if self.step.kind == "step":
            return f"step {self.step.name}"
        if not self.step.parts.get("store") and not self.step.parts.get("codec"):
            return f"the {self.step.kind} {self.step.name}"
        words = {"store": "the store of", "codec": "the codec of", "format": "the format of"}
        what = "the input" if self.step.kind == "source" else "the output"
        return f"{words[self.part]} {what}, {self.step.name}"

    @property
    def computes(self) -> float:
        """The share of the processor's time in it; unknown is half."""
        return 0.5 if self.cpu is None or not self.seconds else self.cpu / self.seconds


def _ready(view: View) -> float:
    """How many times the processor's time a run was ready for it, as others wanted it too."""
    return 1.0 + view.delayed / view.cpu if view.cpu else 1.0


Thread = list[Work]
PARTS = ("store", "codec", "format")


def judge(view: View) -> Verdict:
    """The verdict on a run as it is now."""
    if view.seconds < ENOUGH or not view.source.records_out:
        return Verdict("short", "", "too short a run to say what limits it", "nothing")
    threads = threads_of(view)
    busiest = max(threads, key=lambda thread: _share(thread, view))
    verdict = (
        (_limit(busiest, threads, view) if _share(busiest, view) >= SATURATED else None)
        or _hand_over(view)
        or _queue_too_small(view)
        or _limit(busiest, threads, view)
        or _uneven(view)
        or Verdict(
            "balanced",
            "",
            f"nothing limits the run alone; {_shares(threads, view)}",
            "nothing in particular: every part of it would have to become faster",
        )
    )
    verdict.remarks += _starved(view, verdict) + _delayed(view)
    return verdict


def threads_of(view: View) -> list[Thread]:
    """What the threads of a run do."""
    source, *steps, sink = view.steps
    if view.transfers > 1:  # each of them is one thread, or a few that wait for one another
        ends = _parts(source, *PARTS), _parts(sink, *PARTS)
        each = [Work(step, "", step.seconds, step.cpu, step.workers) for step in steps]
        return [[*ends[0], *each, *ends[1]]]
    roles = {queue.role for queue in view.queues}
    reading, writing = _parts(source, "store", "codec"), _parts(sink, "codec", "store")
    threads = [reading] if "read ahead" in roles else []
    nested = _parts(source, "format") if threads else [*reading, *_parts(source, "format")]
    begins = {queue.taker_place for queue in view.queues if queue.role == "between"}
    for place, step in enumerate(steps, 1):
        if step.workers:
            threads += [nested, [Work(step, "", step.seconds, step.cpu, step.workers)]]
            nested = []
            continue
        if place in begins and nested and nested[0].step.kind != "source":
            threads.append(nested)
            nested = []
        nested.append(Work(step, "", step.seconds, step.cpu))
    nested += _parts(sink, "format")
    if "write behind" in roles:
        threads += [nested, writing]
    else:
        threads.append(nested + writing)
    return [thread for thread in threads if thread]


def _parts(step: StepView, *parts: str) -> Thread:
    workers = max(step.workers, 1)
    return [
        Work(step, part, step.parts.get(part, 0.0), step.parts_cpu.get(part), workers)
        for part in parts
    ]


def _share(thread: Thread, view: View) -> float:
    """How much of the wall time a thread is at work, or workers together compute."""
    seconds = sum(work.seconds / work.workers for work in thread)
    cpu = sum(work.cpu or 0.0 for work in thread if work.workers > 1)
    return min(max(seconds, cpu) / view.seconds, 1.0)


def _limit(thread: Thread, threads: list[Thread], view: View) -> Verdict | None:
    """What limits a run whose busiest thread is this one."""
    busy = _share(thread, view)
    first, *others = sorted(thread, key=lambda work: -work.seconds)
    if busy < BUSY or (others and first.seconds < ALIKE * others[0].seconds):
        return None
    rest = [_share(other, view) for other in threads if other is not thread]
    share = first.seconds / (view.seconds * first.workers)
    text = f"{first.name}: {share:.0%} of the wall time{_figures(first, view)}"
    if first.step.kind != "step":
        return _of_an_end(first, text)
    return _of_a_step(first, text, max([*rest, 0.02]), view)


def _of_an_end(work: Work, text: str) -> Verdict:
    """The source or the sink limits the run."""
    kind = f"{work.step.kind}-{work.part}"
    if kind == "source-format" and not work.step.parts.get("store"):
        lever = "make the records faster, or in several threads of a step behind it"
        return Verdict("source-store", work.step.name, text, lever)
    levers = {
        "source-store": "nothing in the pipeline: it takes what the input's disk, network or "
        "maker gives; several inputs at once (transfers) may give more",
        "source-codec": "have the input written as zstd, which is decoded several times as fast, "
        "or in several files, and read those at once (transfers)",
        "source-format": "read less of it, filter earlier, or split the input over processes",
        "sink-store": "nothing in the pipeline: it gives what the output's disk, network or "
        "reader takes",
        "sink-codec": "a lower level, or zstd, which takes a fraction of gzip's time",
        "sink-format": "write fewer or smaller records, or split the input over processes",
    }
    if kind == "sink-codec" and work.step.codec == "zstd":
        levers[kind] = "a lower level, or lz4"
    return Verdict(kind, work.step.name, text, levers[kind])


def _of_a_step(work: Work, text: str, rest: float, view: View) -> Verdict:
    step, computes = work.step, min(work.computes * _ready(view), 1.0)
    together = min((work.cpu or 0.0) / view.seconds, 1.0)
    if work.workers > 1 and (together > SATURATED or (together >= BUSY and computes >= COMPUTES)):
        text = f"step {step.name}: its workers compute for {together:.0%} of the wall time"
        text += f"{_figures(work, view)}; one at a time, as Python does"
        lever = "fewer workers, or none: they only take turns; a faster function"
        if view.transfers > 1:
            lever = "make its function faster, or split the inputs over processes"
        return Verdict("step-computes", step.name, text, lever)
    if computes >= COMPUTES:
        lever = "make its function faster, filter before it, or split the input over processes"
        lever += "; threads do not help Python code that computes"
        return Verdict("step-computes", step.name, f"{text}; it computes", lever)
    if computes > WAITS and work.cpu is not None:
        lever = f"workers={max(2, 2 * work.workers)} for what it waits for, a faster function for "
        lever += "the rest"
        return Verdict("step-mixed", step.name, f"{text}; half of it waits", lever)
    if step.paced:
        return Verdict("step-waits", step.name, f"{text}; as it is told to", "a higher rate")
    return Verdict("step-waits", step.name, f"{text}; it waits", _more_workers(work, view, rest))


def _more_workers(work: Work, view: View, next_busiest: float) -> str:
    """So many that it takes as long as whatever comes next, or as what the run computes."""
    step, least = work.step, max(next_busiest * view.seconds, view.cpu)
    if view.transfers > 1:
        times = min(max(view.seconds / least, 2), 1_000 / view.transfers)
        return f"more transfers at once: {round(times * view.transfers)}"
    wanted = min(max(round(step.seconds / least), 2 * max(work.workers, 1)), 1_000)
    if step.opaque and not step.workers:
        return f"have what it waits for done by steps.map(function, workers={wanted})"
    return f"more workers: workers={wanted}" if step.workers else f"give it workers={wanted}"


def _figures(work: Work, view: View) -> str:
    """What its neighbours' waits say."""
    figures = []
    queue = view.queue_before(work.step)
    if queue is not None and queue.full >= 0.1:
        figures.append(f"its queue was full {queue.full:.0%} of the time")
    sink = view.sink
    if sink.waited_in > 0.1 * view.seconds and work.step is not sink:
        figures.append(f"the sink waited {sink.waited_in / view.seconds:.0%}")
    return "".join(f", {figure}" for figure in figures)


def _queue_too_small(view: View) -> Verdict | None:
    """Both ends of a queue wait much, now this one and now that one: work comes in bursts."""
    for queue in view.queues:
        taker = _step_of(queue, view)
        if taker is None or not taker.workers or queue.limit is None:
            continue
        idle = queue.waited_to_take / (view.seconds * taker.workers)
        held_up = queue.waited_to_put / view.seconds
        small = queue.limit < 4 * taker.workers or queue.peak >= queue.limit
        if idle > BURSTS and held_up > BURSTS and small:
            text = f"the queue before {taker.name} ({queue.limit:,} records): its workers waited "
            text += f"{idle:.0%} of the time for records, and {queue.giver} {held_up:.0%} for room"
            wanted = max(4 * queue.limit, 4 * taker.workers)
            return Verdict("queue", taker.name, text, f"a longer queue: queue={wanted} (in Python)")
    return None


def _uneven(view: View) -> Verdict | None:
    """A few records keep one worker busy while the others have nothing to do."""
    for step in view.steps[1:-1]:
        share = step.busiest / view.seconds
        if step.workers > 1 and share >= SATURATED:
            text = f"step {step.name}: one of its workers was at work {share:.0%} of the time, all "
            text += f"of them {step.share(view.seconds):.0%}"
            lever = "the few records that take long: divide them, or have them come first"
            return Verdict("step-uneven", step.name, text, lever)
    return None


def _hand_over(view: View) -> Verdict | None:
    """The processor is busy, and hardly with the functions of the steps that have workers."""
    steps = _with_workers(view)
    functions = sum(step.seconds for step in steps)
    if not steps or view.cpu < SATURATED * view.seconds or functions > FEW * view.cpu:
        return None
    least = min(steps, key=lambda step: step.seconds / max(step.records_in, 1))
    text = "handing records from thread to thread: the functions of steps with workers take "
    text += f"{functions / view.cpu:.0%} of the processor's time"
    lever = f"leave the workers of {least.name} out: it takes less than handing over"
    return Verdict("hand-over", least.name, text, lever)


def _with_workers(view: View) -> list[StepView]:
    """The steps with workers of their own; those of transfers are the transfers, mostly."""
    return [step for step in view.steps[1:-1] if step.workers and view.transfers == 1]


def _step_of(queue: QueueView, view: View) -> StepView | None:
    step = view.step_at(queue.taker_place)
    return step if queue.role == "between" and step is not None and step.kind == "step" else None


def _starved(view: View, verdict: Verdict) -> list[str]:
    """Steps most of whose workers have nothing to do."""
    remarks = []
    for step in _with_workers(view):
        share = step.share(view.seconds)
        if step.workers > 2 and share < STARVED and step.name != verdict.limit:
            busy = round(share * step.workers)
            used = f"{busy} of its" if busy else "hardly one of its"
            text = f"step {step.name}: {used} {step.workers} workers were busy on average"
            remarks.append(f"{text}; {min(max(2 * busy, 1), step.workers)} would do")
    return remarks


def _delayed(view: View) -> list[str]:
    """Others want the processor too: that is no step's fault, and alone the run would be faster."""
    if view.delayed < HELD_UP * view.seconds:
        return []
    return [f"its threads waited {view.delayed:.1f} s together for a processor that was free"]


def _shares(threads: list[Thread], view: View) -> str:
    """What takes how much, the most first."""
    works = sorted((work for thread in threads for work in thread), key=_weight, reverse=True)
    told = [f"{work.name} {_weight(work) / view.seconds:.0%}" for work in works[:3]]
    return ", ".join(told) + " of the wall time"


def _weight(work: Work) -> float:
    return work.seconds / work.workers
