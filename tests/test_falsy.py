"""Falsy things: an exception, a record or an object of the user's is never asked for its truth."""

from __future__ import annotations

import ast
import asyncio
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Command

from paipa_etl import Pipeline, per_run, per_step, per_worker, read, steps, transfer, write
from paipa_etl.debugger import Debugger, JsonLines, LogLines
from paipa_etl.run.clock import Clock
from paipa_etl.transfers.many import TransferReport


class NotTrue(Exception):
    def __bool__(self) -> bool:
        return False


class Empty(Exception):
    def __len__(self) -> int:
        return 0


class Undecided(Exception):
    def __bool__(self) -> bool:
        raise TypeError("nobody may ask for the truth of an exception")


class Unequal(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("nobody may compare exceptions")


class LikeAll(Exception):
    __hash__ = Exception.__hash__

    def __eq__(self, other: object) -> bool:
        return True


KINDS: list[type[Exception]] = [NotTrue, Empty, Undecided, Unequal, LikeAll]


class Raising:
    """Raises on one record, wherever it stands."""

    def __init__(self, kind: type[Exception]) -> None:
        self.error = kind("the one")

    def __call__(self, n: int) -> int:
        if n == 700:
            raise self.error
        return n

    def test(self, n: int) -> bool:
        return self(n) >= 0

    def items(self, n: int) -> Iterator[int]:
        yield self(n)

    async def later(self, n: int) -> int:
        return self(n)

    def generator(self, records: Any) -> Iterator[int]:
        for n in records:
            yield self(n)

    def source(self) -> Iterator[int]:
        yield from map(self, range(2_000))

    def resource(self) -> Any:
        raise self.error

    def released(self) -> Iterator[int]:
        yield 1
        raise self.error


def asking(n: int, *, thing: Any) -> int:
    return n


PLANS: dict[str, Callable[[Raising], Pipeline]] = {
    "map": lambda r: Pipeline(range(2_000), [steps.map(r)]),
    "filter": lambda r: Pipeline(range(2_000), [steps.filter(r.test)]),
    "tap": lambda r: Pipeline(range(2_000), [steps.tap(r)]),
    "flat map": lambda r: Pipeline(range(2_000), [steps.flat_map(r.items)]),
    "generator": lambda r: Pipeline(range(2_000), [r.generator]),
    "coroutine": lambda r: Pipeline(range(2_000), [steps.map(r.later)]),
    "retries": lambda r: Pipeline(range(2_000), [steps.map(r, retries=1, backoff=0)]),
    "source": lambda r: Pipeline(r.source, [steps.map(abs)]),
    "source before threads": lambda r: Pipeline(r.source, [steps.map(abs, workers=3)]),
    "workers": lambda r: Pipeline(range(2_000), [steps.map(r, workers=3)]),
    "unordered": lambda r: Pipeline(range(2_000), [steps.map(r, workers=3, ordered=False)]),
    "filter with workers": lambda r: Pipeline(range(2_000), [steps.filter(r.test, workers=3)]),
    "items with workers": lambda r: Pipeline(range(2_000), [steps.flat_map(r.items, workers=3)]),
    "share": lambda r: Pipeline(range(2_000), [steps.parallel(r.generator, workers=3)]),
    "tasks": lambda r: Pipeline(range(2_000), [steps.map(r.later, workers=3)]),
    "between stages": lambda r: Pipeline(
        range(2_000), [steps.map(abs, workers=2), r.generator, steps.map(abs, workers=2)]
    ),
    "behind stages": lambda r: Pipeline(range(2_000), [steps.map(abs, workers=2), r.generator]),
    "threaded part": lambda r: Pipeline(range(2_000), [steps.threaded([steps.map(r, workers=2)])]),
    "resource of the run": lambda r: Pipeline(
        range(9), [steps.map(asking)], resources={"thing": per_run(r.resource)}
    ),
    "resource of a worker": lambda r: Pipeline(
        range(9), [steps.map(asking, workers=2)], resources={"thing": per_worker(r.resource)}
    ),
    "released": lambda r: Pipeline(
        range(9), [steps.map(asking)], resources={"thing": per_step(r.released)}
    ),
    "released by a worker": lambda r: Pipeline(
        range(9), [steps.map(asking, workers=2)], resources={"thing": per_worker(r.released)}
    ),
}


def run_it(plan: Pipeline, tmp_path: Path) -> None:
    (plan | write(tmp_path / "out.jsonl.gz")).run()


def iterate(plan: Pipeline, tmp_path: Path) -> None:
    for _ in plan:
        pass


def start(plan: Pipeline, tmp_path: Path) -> None:
    with (plan | write(tmp_path / "out.jsonl")).start() as run:
        run.wait(60)


def run_in_loop(plan: Pipeline, tmp_path: Path) -> None:
    asyncio.run((plan | write(tmp_path / "out.jsonl")).run_async())


def iterate_in_loop(plan: Pipeline, tmp_path: Path) -> None:
    async def pull() -> None:
        async for _ in plan:
            pass

    asyncio.run(pull())


def write_block(plan: Pipeline, tmp_path: Path) -> None:
    with write(tmp_path / "out.jsonl") as out, closing(iter(plan)) as flow:
        out.write_all(flow)


def look(plan: Pipeline, tmp_path: Path) -> None:
    (plan | write(tmp_path / "out.jsonl")).run(debugger=Debugger())


RUNS = [run_it, iterate, start, run_in_loop, iterate_in_loop, write_block, look]


@pytest.mark.parametrize("carry_out", RUNS)
@pytest.mark.parametrize("plan", PLANS)
def test_a_falsy_exception_is_raised(
    plan: str, carry_out: Callable[[Pipeline, Path], None], tmp_path: Path
) -> None:
    for kind in KINDS:
        raising = Raising(kind)
        try:
            carry_out(PLANS[plan](raising), tmp_path)
        except Exception as error:
            assert error is raising.error, (kind, repr(error))  # noqa: PT017
        else:
            raise AssertionError(f"{kind.__name__} was lost")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [None, 3])
def test_a_falsy_exception_skips_its_record(kind: type[Exception], workers: int | None) -> None:
    raising = Raising(kind)
    got: list[Any] = []
    for function in (raising, raising.later):
        step = steps.map(function, workers=workers)
        report = Pipeline(range(2_000), [step], got, on_error="skip").run()
        assert (report.skipped, report.written) == (1, 1_999)
        assert kind.__name__ in report.errors[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_falsy_exception_of_one_of_many_transfers(kind: type[Exception], tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text("700\n" if name == "b" else "1\n")
    raising, heard = Raising(kind), Heard()
    plan = Pipeline(
        read(str(tmp_path / "?.jsonl")), [steps.map(raising)], write(f"{tmp_path}/o/{{name}}")
    )
    report = transfer(plan, heard=heard)
    assert (report.transferred, report.failed, report.exit_code) == (2, 1, 1)
    assert kind.__name__ in report.failures[0]
    assert heard.times == 3
    with pytest.raises(kind):
        transfer(plan, fail_fast=True)


class Heard:
    """A callable that is false."""

    times = 0

    def __bool__(self) -> bool:
        return False

    def __call__(self, report: TransferReport) -> None:
        self.times += 1


MODULE = """\
class NotTrue(Exception):
    def __bool__(self):
        return False
class Empty(Exception):
    def __len__(self):
        return 0
class Undecided(Exception):
    def __bool__(self):
        raise TypeError("nobody may ask")
def fail(record):
    raise {kind}("the one")
async def later(record):
    raise {kind}("the one")
def generator(records):
    for record in records:
        raise {kind}("the one")
    yield
"""


@pytest.mark.parametrize("kind", ["NotTrue", "Empty", "Undecided"])
@pytest.mark.parametrize(
    "words",
    [
        ["--map", "falsy:fail"],
        ["--map", "falsy:fail@3"],
        ["--map", "falsy:later"],
        ["--map", "falsy:later@3"],
        ["--step", "falsy:generator"],
        ["--step", "falsy:generator@3"],
        ["--map", "falsy:fail", "--report", "report.json", "--debug"],
        ["--map", "falsy:fail", "--report", "missing/report.json"],
        ["--map", "falsy:fail", "-vv"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("output", ["out.jsonl", "out/{name}"])
def test_a_falsy_exception_ends_the_command(
    tmp_path: Path, paipa: Command, kind: str, words: list[str], output: str
) -> None:
    (tmp_path / "in.jsonl").write_text("1\n2\n")
    (tmp_path / "falsy.py").write_text(MODULE.format(kind=kind))
    done: subprocess.CompletedProcess[bytes] = paipa("in.jsonl", output, *words)
    refused = "missing/report.json" in words
    assert done.returncode == (6 if refused else 1), done.stderr
    assert refused or f"{kind}: the one".encode() in done.stderr
    if "-vv" not in words:
        assert b"Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name in ("out.jsonl", "in.jsonl")][1:]


# Records


class Odd:
    """A record that bears no question."""

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("nobody may ask for the truth of a record")

    def __eq__(self, other: object) -> bool:
        raise TypeError("nobody may compare records")

    def __len__(self) -> int:
        raise TypeError("nobody may measure records")


def same(record: Any) -> Any:
    return record


async def same_later(record: Any) -> Any:
    return record


def one(record: Any) -> list[Any]:
    return [record]


def pass_on(records: Any) -> Iterator[Any]:
    yield from records


WAYS: dict[str, list[Any]] = {
    "nothing": [],
    "map": [steps.map(same)],
    "filter": [steps.filter(lambda record: True)],
    "tap": [steps.tap(lambda record: record)],
    "flat map": [steps.flat_map(one)],
    "generator": [pass_on],
    "coroutine": [steps.map(same_later)],
    "workers": [steps.map(same, workers=3)],
    "tap with workers": [steps.tap(same, workers=3)],
    "items with workers": [steps.flat_map(one, workers=3)],
    "share": [steps.parallel(pass_on, workers=3)],
    "tasks": [steps.map(same_later, workers=3)],
    "slices": [steps.skip(0), steps.limit(10**6)],
    "batches": [steps.batch(3), steps.flatten()],
    "retries": [steps.map(same, retries=1, workers=2)],
}


@pytest.mark.parametrize("way", WAYS)
def test_falsy_records_travel_unharmed(way: str) -> None:
    odd = [Odd(), NotTrue(), Undecided(), Unequal(), LikeAll()]
    records: list[Any] = [0, 0.0, "", b"", [], {}, (), None, False, *odd] * 100

    def source() -> Iterator[Any]:
        yield from records

    async def pull() -> list[Any]:
        return [record async for record in Pipeline(source, WAYS[way])]

    sunk: list[Any] = []
    Pipeline(records, WAYS[way], sunk).run()
    for got in (sunk, [*Pipeline(source, WAYS[way])], asyncio.run(pull())):
        assert len(got) == len(records)
        assert all(one is other for one, other in zip(got, records, strict=True))


# Objects of the user's


class FalsyFile(io.BytesIO):
    """A file object that is false, and as long as what is left of it: nothing at first."""

    def __len__(self) -> int:
        return 0


class FalsyList(list):  # type: ignore[type-arg]
    def __bool__(self) -> bool:
        return False


class FalsyCallable:
    def __bool__(self) -> bool:
        return False

    def __call__(self, n: Any) -> Any:
        return n


class FalsySource:
    """An iterable, and its iterator, that are false."""

    def __init__(self) -> None:
        self.left = [3, 2, 1]

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> FalsySource:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()


class FalsyClock(Clock):
    asked = 0

    def __bool__(self) -> bool:
        return False

    def now(self) -> float:
        self.asked += 1
        return super().now()


class FalsyText(io.StringIO):
    def __len__(self) -> int:
        return 0


def test_falsy_files_lists_and_callables() -> None:
    source, sink, records = FalsyFile(b"1\n2\n"), FalsyFile(), FalsyList()
    Pipeline(source, [steps.map(FalsyCallable())], sink).run()
    assert sink.getvalue() == b"1\n2\n"
    Pipeline(FalsySource(), [FalsyCallable()], records).run()
    assert [*records] == [1, 2, 3]
    assert [*Pipeline(FalsySource(), [steps.map(FalsyCallable(), workers=2)])] == [1, 2, 3]
    with write(FalsyFile()) as out:
        out.write(1)
    empty = bytearray()
    Pipeline([1], [], empty).run()
    assert empty == b"1\n"


@pytest.mark.parametrize("scope", [per_run, per_step, per_worker])
@pytest.mark.parametrize("workers", [None, 2])
def test_a_falsy_resource(scope: Callable[[Any], Any], workers: int | None) -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(FalsyList())
        return made[-1]

    def work(n: int, *, thing: Any) -> int:
        assert any(thing is one for one in made)
        return n

    step = steps.map(work, workers=workers)
    assert [*Pipeline(range(50), [step], resources={"thing": scope(make)})] == [*range(50)]
    assert len(made) == (workers or 1 if scope is per_worker else 1)


def test_a_falsy_clock_and_falsy_files_of_reporters() -> None:
    from paipa_etl.run import new_run

    clock, lines, objects = FalsyClock(), FalsyText(), FalsyText()
    run = new_run(clock=clock)
    assert run.clock is clock
    debugger = Debugger([LogLines(lines), JsonLines(objects)])
    Pipeline(range(10)).run(debugger=debugger)
    assert lines.getvalue()
    assert objects.getvalue()


# The code


ERRORS = {"error", "failure", "_failure", "cause", "raised", "missing", "exception"}
OBJECTS = {"record", "item", "result", "file", "_file", "clock", "_clock", "client", "_client"}
OBJECTS |= {"function", "sink", "_sink", "_heard", "heard", "hook", "resource", "iterator"}
OBJECTS |= {"iterable", "flow", "run", "clients", "_target", "_output", "callback"}


def truths(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression whose truth is asked for; of ``a or b``, ``a``."""
    for node in ast.walk(tree):
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test):
                yield test
            case ast.BoolOp(values=values):
                yield from values[:-1]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield operand
            case ast.comprehension(ifs=ifs):
                yield from ifs
            case ast.Call(func=ast.Name("bool"), args=[argument]):
                yield argument
            case ast.Call(func=ast.Name("filter"), args=[ast.Constant(None), _]):
                yield node


def name_of(node: ast.expr) -> str:
    match node:
        case ast.Name(name) | ast.Attribute(attr=name) | ast.NamedExpr(target=ast.Name(name)):
            return name
        case ast.Call(func=ast.Name("filter")):
            return "record"
        case ast.BoolOp(values=values):
            return name_of(values[-1])
    return ""


def test_the_code_asks_for_the_truth_of_no_exception_and_of_no_object() -> None:
    found = []
    for folder in ("paipa_etl", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in truths(ast.parse(path.read_text())):
                if name_of(node) in ERRORS | OBJECTS:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def test_the_kernels_ask_for_the_truth_of_no_exception_and_of_no_object() -> None:
    words = "|".join(sorted(ERRORS | OBJECTS))
    asked = re.compile(
        rf"\b(?:if|while|not|and|or)\s+(?:self\.)?(?:{words})\s*(?::|and|or|$)", re.M
    )
    for path in (ROOT / "paipa_etl").rglob("*.pyx"):
        assert not asked.findall(path.read_text()), path


def test_the_look_for_truths_finds_them() -> None:
    code = "if error: pass\nx = failure or error\nwhile not self.record: pass\nfilter(None, x)\n"
    assert [name_of(node) for node in truths(ast.parse(code))].count("") == 1
    names = {name_of(node) for node in truths(ast.parse(code))}
    assert {"error", "failure", "record"} <= names
