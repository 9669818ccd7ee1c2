"""The scheme table: a store of another package is listed, redacted and woken like ours."""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from paipa_etl import Pipeline, PlanError, read, schemes, stores, write
from paipa_etl.stores.secrets import guard

SECRET = "an-open-sesame-of-somebody"
# An engine as another package has it. The name of the package begins like that of this one.
ENGINE = """
import socket

ends = socket.socketpair()
waits = []


class WaitingObject:
    words = frozenset()

    def __init__(self, location, options, clients):
        pass

    def stat(self):
        sock = ends[0]
        waits.append(1)
        sock.recv(1)  # nothing comes
        raise StoreFailure("woken")

    def read_range(self, start, stop, stamp):
        self.stat()
"""


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone afterwards: the kits test all that is registered."""
    schemes.known()
    monkeypatch.setattr(schemes, "_rows", dict(schemes._rows))


@pytest.fixture
def engine(table: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = types.ModuleType("paipa_etl_of_somebody")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    from paipa_etl.stores.port import StoreFailure

    module.__dict__["StoreFailure"] = StoreFailure
    exec(ENGINE, module.__dict__)  # noqa: S102
    stores.register(module.WaitingObject, "waiting", loggers=("library_of_somebody",))
    yield module
    for end in module.ends:
        end.close()


@pytest.mark.parametrize("scheme", ["object", "bytes", "standard"])
def test_what_is_no_scheme_of_urls_cannot_be_typed(scheme: str) -> None:
    """An ``object://x`` used to be taken for a file object, of which there was none."""
    with pytest.raises(PlanError):
        Pipeline(read(f"{scheme}://x/y.jsonl").source, [], []).run()
    with pytest.raises(PlanError):
        Pipeline([1], [], write(f"{scheme}://x/y.jsonl")).run()


def test_a_store_of_another_package_is_listed(engine: Any) -> None:
    with pytest.raises(PlanError, match=r"known: .*waiting") as caught:
        Pipeline("unknown://x/y.jsonl", [], []).run()
    assert "s3" in str(caught.value)


def test_its_wait_is_ended_with_the_run(engine: Any) -> None:
    run = Pipeline("waiting://x/y.jsonl", [], []).start()
    while not engine.waits:
        time.sleep(0.01)
    began = time.monotonic()
    run.abort()
    assert time.monotonic() - began < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "paipa-run"]
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever an aborted run raises
        run.wait()


def test_secrets_are_left_out_of_what_its_library_logs(engine: Any) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("library_of_somebody")
    logger.addHandler(handler)
    try:
        guard(SECRET)
        logger.warning("a token: %s", SECRET)
    finally:
        logger.removeHandler(handler)
    assert SECRET not in written.getvalue()
    assert "a token" in written.getvalue()


@pytest.mark.usefixtures("table")
def test_a_name_that_is_taken_is_refused() -> None:
    stores.register(object, "once")
    for name in ("once", "abfs", "-"):
        with pytest.raises(PlanError, match="already"):
            stores.register(object, name)
