"""Steps that make many records of one: bounded memory, and ended at once, however the run ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from typing import Any

import pytest

from paipa_etl import Pipeline, combine_pipeline, steps

PEAK = 100e6  # bytes of the whole process; the items of one record would take several times as many

PROGRAM = """
import itertools, time
from paipa_etl import Pipeline, combine_pipeline, steps

many = {many}  # items of a record; None: they never end


def items(n):
    if n == {failing}:
        time.sleep(0.2)
        raise ValueError("mine")
    for k in itertools.count() if many is None else range(many):
        yield [n, k, "x" * 100]


def share(records):
    for n in records:
        yield from items(n)


async def later(n):
    return items(n)


made = {step}
ending = {ending!r}
flow = {flow}
began = time.monotonic()
if ending == "break":
    for count, record in enumerate(flow):
        if count == 10:
            time.sleep(0.3)  # meanwhile the workers could go on
            break
    flow.close()
elif ending == "slow":
    for record in itertools.islice(flow, 100):
        time.sleep(0.005)
    flow.close()
elif ending == "limit":
    assert Pipeline(range(8), [made, steps.limit(10)], []).run().written == 10
else:
    try:
        for record in flow:
            pass
    except ValueError as error:
        assert str(error) == "mine"
    else:
        raise AssertionError("the failure is lost")
with open("/proc/self/status") as file:
    status = file.read()  # ru_maxrss counts what the parent process had, too
print(time.monotonic() - began, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""
STEPS = {
    "flat_map": "steps.flat_map(items, workers=4)",
    "flat_map in no order": "steps.flat_map(items, workers=4, ordered=False)",
    "parallel": "steps.parallel(share, workers=4)",
    "parallel in no order": "steps.parallel(share, workers=4, ordered=False)",
    "coroutine": "steps.flat_map(later, workers=4)",
    "coroutine in no order": "steps.flat_map(later, workers=4, ordered=False)",
    "threaded": "steps.threaded(steps.flat_map(items, workers=4))",
    "flat_map and map": "[steps.flat_map(items, workers=4), steps.map(list, workers=2)]",
    "one in front": "[steps.map(abs), steps.flat_map(items, workers=4), steps.tap(list)]",
    "alone": "steps.flat_map(items)",
}


def outcome(step: str, ending: str, many: int | None, failing: int | None) -> tuple[float, float]:
    """Seconds until the end, and the peak memory in bytes, of a process of its own."""
    flow = (
        "iter(combine_pipeline(range(8), made))"
        if "threaded" in step
        else "iter(Pipeline(range(8), made))"
    )
    text = PROGRAM.format(step=STEPS[step], ending=ending, many=many, failing=failing, flow=flow)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


@pytest.mark.parametrize("ending", ["break", "limit", "slow"])
@pytest.mark.parametrize("many", [400_000, None], ids=["many", "endless"])
@pytest.mark.parametrize("step", STEPS)
def test_items_that_nobody_takes_are_not_made(step: str, many: int | None, ending: str) -> None:
    seconds, peak = outcome(step, ending, many, None)
    assert peak < PEAK
    assert seconds < 10  # a worker that goes on is reported after 10 s


@pytest.mark.parametrize("step", [name for name in STEPS if "alone" not in name])
def test_an_error_in_one_record_ends_the_others_that_stand_behind_it(step: str) -> None:
    seconds, peak = outcome(step, "error", None if "no order" in step else 20_000, 2)
    assert peak < PEAK
    assert seconds < 10


@pytest.mark.parametrize("step", ["flat_map", "coroutine"])
def test_items_that_come_slowly_are_not_waited_for_at_the_end(step: str) -> None:
    def slowly(n: int) -> Any:
        while True:
            time.sleep(0.02)
            yield n

    async def slowly_later(n: int) -> Any:
        return slowly(n)

    function: Any = slowly if step == "flat_map" else slowly_later
    flow: Any = iter(Pipeline(range(4), steps.flat_map(function, workers=4)))
    assert next(flow) == 0
    began = time.monotonic()
    flow.close()
    assert time.monotonic() - began < 5  # 256 items take as long, and were waited for


@pytest.mark.parametrize("workers", [None, 2])
def test_endless_items_with_retries_end_with_the_run(workers: int | None) -> None:
    def endless(n: int) -> Any:
        while n:
            yield n
        raise KeyError("mine")

    made = steps.flat_map(endless, workers=workers, retries=1, backoff=0)
    if workers is None:
        run = Pipeline([0], made).start()
        with pytest.raises(KeyError):
            run.wait(30)
        return
    with pytest.raises(KeyError):
        list(Pipeline([0, 1], made))


@pytest.mark.parametrize("kind", ["generators", "workers", "threaded"])
def test_all_items_before_an_error_come_and_none_behind_it(kind: str) -> None:
    def items(n: int) -> Any:
        for k in range(1000):
            if (n, k) == (2, 700):
                raise ValueError("mine")
            yield n, k

    flows: dict[str, Any] = {
        "generators": Pipeline(range(8), steps.flat_map(items)),
        "workers": Pipeline(range(8), steps.flat_map(items, workers=4)),
        "threaded": combine_pipeline(range(8), steps.threaded(steps.flat_map(items, workers=3))),
    }
    found: list[Any] = []
    with pytest.raises(ValueError, match="mine"):
        deque(map(found.append, flows[kind]), maxlen=0)
    assert found == [(n, k) for n in range(3) for k in range(1000) if (n, k) < (2, 700)]
