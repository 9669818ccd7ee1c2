"""What looking costs: the debugger on and off, beside the ancestor's; and say which promises hold.

    python benchmarks/debugger.py             # about 3 minutes
    python benchmarks/debugger.py --rounds 3  # a quick look

Everything in one process in turn, but for the main job, which is run as a command with and
without ``--debug``. Prints Markdown; ends with 1 when a must is not met. See README.md beside it.
"""

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compare import conclude, machine
from jobs import Data
from make_data import size_of
from tools import as_installed, versions

from paipa_etl import Pipeline, combine_pipeline, steps
from paipa_etl.debugger import Debugger
from paipa_etl.metrics import _meter_python, accounts, looks

STEPS = 4
NESTED, FEW, OLD = 500_000, 100_000, 20_000  # records: compiled, plain, the ancestor's
THREADED = 1_000_000
LONG = 10_000_000


def identity(records: Any) -> Iterator[Any]:
    """A generator step that does nothing."""
    yield from (record for record in records)


def one_by_one(records: Any) -> Iterator[Any]:
    """The same, as steps are written."""
    for record in records:  # noqa: UP028 - a step that works has this loop
        yield record


def seconds(action: Callable[[], Any]) -> float:
    """How long something takes."""
    gc.collect()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def consumed(records: int, debugger: Debugger | None) -> Callable[[], None]:
    """Four identity steps, nested, and somebody who takes the records."""

    def run() -> None:
        for _ in combine_pipeline(range(records), [one_by_one] * STEPS, debugger=debugger):
            pass

    return run


def ancestor(records: int, debugged: bool) -> Callable[[], None]:
    """The same with paipa 0.3."""
    import paipa

    class Silent:
        """A reporter that says nothing."""

        def __getattr__(self, name: str) -> Any:
            return lambda *words, **more: None

    def run() -> None:
        debugger = paipa.PipelineRuntimeDebugger(reporters=[Silent()]) if debugged else None
        for _ in paipa.combine_pipeline(iter(range(records)), [one_by_one] * STEPS, debugger):
            pass

    return run


def plain(form: bool) -> None:
    """Use the plain form of the meter, or the one that there is."""
    from paipa_etl.metrics import meter

    for module, names in ((accounts, ("Account", "Probe", "Strand")), (looks, ("Account",))):
        for name in names:
            setattr(module, name, getattr(_meter_python if form else meter, name))


def per_step(with_it: list[float], without: list[float], records: int) -> float:
    """Nanoseconds for a record and a tracked step: of pairs that ran one after the other."""
    pairs = zip(with_it, without, strict=True)
    return statistics.median((one - other) / records / STEPS * 1e9 for one, other in pairs)


def nested(rounds: int) -> list[tuple[str, str, bool]]:
    """Cost of a record and step in nested generators."""
    times: dict[str, tuple[list[float], list[float]]] = {}

    def paired(name: str, on: Callable[[], None], off: Callable[[], None]) -> None:
        ons, offs = times.setdefault(name, ([], []))
        offs.append(seconds(off))
        ons.append(seconds(on))

    for _ in range(rounds):
        paired("compiled", consumed(NESTED, Debugger()), consumed(NESTED, None))
        plain(True)
        paired("plain", consumed(FEW, Debugger()), consumed(FEW, None))
        plain(False)
        paired("paipa 0.3", ancestor(OLD, True), ancestor(OLD, False))
    sizes = {"compiled": NESTED, "plain": FEW, "paipa 0.3": OLD}
    cost = {name: per_step(*times[name], sizes[name]) for name in times}
    compiled, simple, old = cost["compiled"], cost["plain"], cost["paipa 0.3"]
    what = "four identity steps: a record and step"
    return [
        (f"{what}, compiled", f"{compiled:.0f} ns of 120", compiled <= 120),
        (f"{what}, plain Python", f"{simple:.0f} ns of 1,000", simple <= 1_000),
        (
            f"{what}, paipa 0.3 ({old:,.0f} ns) over ours",
            f"{old / compiled:.0f}x, at least 100",
            old / compiled >= 100,
        ),
    ]


def add_one(number: int) -> int:
    """The cheapest step."""
    return number + 1


def threaded(rounds: int) -> list[tuple[str, str, bool]]:
    """Three steps of x + 1, eight threads each."""
    plan = Pipeline(range(THREADED), [steps.map(add_one, workers=8)] * 3)
    ratios = []
    for _ in range(rounds):
        off = seconds(lambda: plan.run())
        on = seconds(lambda: plan.run(debugger=Debugger()))
        ratios.append(on / off)
    ratio = statistics.median(ratios)
    return [("three steps of `x + 1`, eight threads each", f"{ratio:.2f}x of 1.15", ratio <= 1.15)]


def copied(rounds: int, data: Path, size: int) -> list[tuple[str, str, bool]]:
    """The main job as a command, with and without --debug."""
    source = Data(data, size, None).file("events", ".jsonl.gz")
    walls, cpus = [], []
    for number in range(2 * rounds + 2):
        words = ["--debug"] if number % 2 else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        command = [sys.executable, "-m", "paipa_etl", str(source), str(data / "debugger-out.jsonl")]
        subprocess.run([*command, *words], check=True, stderr=subprocess.DEVNULL)
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if number > 1:
            walls.append(wall)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    ratio = statistics.median(on / off for off, on in zip(walls[::2], walls[1::2], strict=True))
    cpu = statistics.median(on / off for off, on in zip(cpus[::2], cpus[1::2], strict=True))
    told = f"{ratio:.3f}x of 1.03 (CPU {cpu:.3f}x; {statistics.median(walls):.2f} s)"
    return [("the main job with `--debug`", told, ratio <= 1.03)]


def memory() -> list[tuple[str, str, bool]]:
    """What the debugger keeps, in a long run and in one a hundredth as long."""

    def kept(records: int) -> int:
        gc.collect()
        tracemalloc.start()
        for _ in combine_pipeline(range(records), [identity], debugger=Debugger()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    short, long = kept(LONG // 100), kept(LONG)
    told = f"{long / 1e3:.0f} kB, {short / 1e3:.0f} kB in a hundredth of it"
    return [(f"its memory over {LONG:,} records, at the most", told, long < short + 100_000)]


def accounted() -> list[tuple[str, str, bool]]:
    """Own times against wall time in a serial run."""

    def work(records: Any) -> Iterator[Any]:
        for record in records:
            sum(range(50))
            yield record

    debugger = Debugger()
    Pipeline(range(300_000), [work, one_by_one, work], []).run(debugger=debugger)
    view = debugger.view
    assert view is not None
    share = sum(step.seconds for step in view.steps) / view.seconds
    told = f"{share:.3f}, within 0.05 of 1"
    return [("own times over wall time, serial", told, abs(share - 1) <= 0.05)]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=size_of, default=size_of("250MB"))
    parser.add_argument("--data", type=Path, default=Path("/tmp/paipa-etl-bench"))
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    as_installed()
    about = machine(versions("paipa-etl paipa", ()))
    print(" · ".join(f"{key} {value}" for key, value in about.items()))
    rows = [
        *nested(args.rounds),
        *threaded(args.rounds),
        *copied(args.rounds, args.data, args.size),
    ]
    rows += [*memory(), *accounted()]
    print("\n### debugger: what looking costs\n\n| | seen | met |\n|---|---|---|")
    for name, told, met in rows:
        print(f"| {name} | {told} | {'yes' if met else 'no'} |")
    unmet = [f"{name}: {told}" for name, told, met in rows if not met]
    return conclude([{"name": "debugger", "unmet": unmet}])


if __name__ == "__main__":
    sys.exit(main())
