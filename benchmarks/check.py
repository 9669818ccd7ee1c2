"""Tell whether a tool's output holds the right records, so that a fast wrong answer counts nothing.

Every line is compared, in order. Those that are not the expected bytes are parsed: all of the
first and last thousand and one in sixteen of the others.
"""

import json
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

EDGE = 1000
STEP = 16

Step = Callable[[dict[str, Any]], dict[str, Any]]


def verdict(source: Path, out: Path, step: Step | None) -> str:
    """Say `equal`, `nulls added` (absent keys came out as null), or `WRONG` and where.

    `source` is the plain JSON Lines that the output was made from, `step` what was to be done to
    each record.
    """
    if not out.exists():
        return "WRONG: no output"
    with open(source, "rb") as lines:
        last = sum(1 for _ in lines)
    found = "equal"
    with open(source, "rb") as wanted, open(out, "rb") as got:
        for number, (want, have) in enumerate(zip_longest(wanted, got), 1):
            if want is None or have is None:
                return f"WRONG: {'more' if want is None else 'fewer'} than {last} records"
            if (want != have or step) and looked_at(number, last):
                if not (same := compared(want, have, step)):
                    return f"WRONG: record {number}"
                found = found if same == "equal" else same
    return found


def looked_at(number: int, last: int) -> bool:
    return number <= EDGE or number > last - EDGE or number % STEP == 0


def compared(want: bytes, have: bytes, step: Step | None) -> str:
    """Say how a line agrees with what the source's line should have become, if it does."""
    try:
        got = json.loads(have)
    except ValueError:
        return ""
    record = json.loads(want)
    expected = step(record) if step else record
    if got == expected:
        return "equal"
    return "nulls added" if without_nulls(got) == without_nulls(expected) else ""


def without_nulls(value: Any) -> Any:
    """Leave out what a table cannot tell from an absent key: nulls, and objects of nulls only."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: without_nulls(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item is not None} or None
