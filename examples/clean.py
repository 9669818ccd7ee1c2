"""Functions and steps for the sample of events, as the command line and the library take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Record = dict[str, Any]

SILENCE = 60_000  # milliseconds without an event, after which a user's session is over


def is_error(record: Record) -> bool:
    """Whether the request failed (for ``--filter``)."""
    return int(record["status"]) >= 400


def normalize(record: Record) -> Record:
    """Lift the trace to the top, drop the device, write the e-mail in lower case (``--map``)."""
    record.pop("device", None)
    record["trace"] = record["request"]["trace"]
    user = record["user"]
    if user and user["email"]:
        user["email"] = user["email"].lower()
    return record


def cast(region: str, n: int = 3) -> Callable[[Record], Record]:
    """Make a function that names the region and rounds times to ``n`` digits (``--map``)."""

    def cast_record(record: Record) -> Record:
        record["region"] = region
        record["took_ms"] = round(record["took_ms"], n)
        return record

    return cast_record


def sessions(records: Iterable[Record]) -> Iterator[Record]:
    """Fold the events of each known user into sessions, given when they end (``--step``).

    Events come in the order of their time. Keeps the sessions that are not over yet.
    """
    running: dict[int, Record] = {}  # the one that has been silent longest stands first
    for record in records:
        now = record["epoch_ms"]
        while running and now - (first := next(iter(running.values())))["end"] > SILENCE:
            yield running.pop(first["user"])
        if record["user"]:
            session = _joined(running.pop(record["user"]["id"], None), record)
            running[session["user"]] = session
    yield from running.values()


def _joined(session: Record | None, record: Record) -> Record:
    """The session with one more event."""
    now = record["epoch_ms"]
    session = session or {"user": record["user"]["id"], "start": now, "events": 0, "errors": 0}
    session["end"] = now
    session["events"] += 1
    session["errors"] += is_error(record)
    return session
