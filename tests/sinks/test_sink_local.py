"""Local targets: the old bytes or the complete new ones, whatever fails, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, SAMPLE

from paipa_etl import OutputError, Pipeline, PlanError, read, steps, write

CALLS = ("open", "write", "posix_fadvise", "fchmod", "fchown", "fsync", "replace", "close")
MANY = 8_000


def concerns(directory: Path, subject: Any) -> bool:
    """Whether a call's first argument, a path or a descriptor, is in a directory or is it."""
    if isinstance(subject, int):
        with suppress(OSError):
            subject = os.readlink(f"/proc/self/fd/{subject}")
    return os.fspath(str(subject)).startswith(str(directory))


class Failing:
    """Lets call number ``k`` on a directory's files fail, and with ``persistent`` all behind it."""

    def __init__(self, directory: Path, k: int, *, persistent: bool = False) -> None:
        self.directory, self.k, self.persistent = directory, k, persistent
        self.seen = 0
        self.failed: list[str] = []

    def over(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if not concerns(self.directory, words[0]):
                return real(*words, **more)
            self.seen += 1
            if self.seen - 1 == self.k or (self.persistent and self.seen > self.k):
                self.failed.append(name)
                if name == "close":
                    real(*words)  # as Linux has it: the descriptor is gone all the same
                raise OSError(errno.EIO, "Input/output error")
            return real(*words, **more)

        return call

    @contextmanager
    def installed(self, calls: tuple[str, ...] = CALLS) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, self.over(name, getattr(os, name)))
            yield


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def put(target: Path) -> None:
    Pipeline(({"n": n, "text": str(n) * 50} for n in range(MANY)), [], target).run()


def sweep(tmp_path: Path, suffix: str, persistent: bool, calls: tuple[str, ...]) -> set[str]:
    """Fail every call in turn; which kinds of call were failed."""
    target = tmp_path / f"out.jsonl{suffix}"
    put(target)
    new = target.read_bytes()
    swept: set[str] = set()
    for k in range(10_000):
        target.write_bytes(b"old")
        failing = Failing(tmp_path, k, persistent=persistent)
        error = None
        with failing.installed(calls):
            try:
                put(target)
            except OutputError as failure:
                error = failure
        if not failing.failed:
            return swept
        swept |= set(failing.failed)
        message = f"{failing.failed} at call {k}: {error}"
        assert error is not None, message
        assert target.read_bytes() in (b"old", new), message
        assert names(tmp_path) == [target.name], message
    raise AssertionError("the calls never end")


SURE = ("open", "write", "fchmod", "fsync", "replace")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for good"])
def test_a_failing_call_leaves_the_old_or_the_complete_new_bytes(
    tmp_path: Path, suffix: str, persistent: bool
) -> None:
    assert sweep(tmp_path, suffix, persistent, SURE) == set(SURE)


def test_a_directory_that_cannot_be_flushed_is_not_told_as_an_untouched_file(
    tmp_path: Path,
) -> None:
    target, real, opened = tmp_path / "out.jsonl", os.open, []

    def no_directory(path: Any, flags: int, *more: Any) -> int:
        opened.append(path)
        if str(path) == str(tmp_path):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, flags, *more)

    target.write_bytes(b"old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", no_directory)
        with pytest.raises(OutputError) as caught:
            Pipeline([1], [], target).run()
    assert str(tmp_path) in map(str, opened)
    assert target.read_bytes() == b"1\n"
    assert "untouched" not in str(caught.value)


@pytest.mark.parametrize("call", ["posix_fadvise", "fchown", "close"])
def test_a_lesser_call_that_fails_is_a_failed_output_too_or_no_failure(
    tmp_path: Path, call: str
) -> None:
    target = tmp_path / "out.jsonl"
    put(target)
    new = target.read_bytes()
    target.write_bytes(b"old")
    with Failing(tmp_path, 0, persistent=True).installed((call,)), suppress(OutputError):
        put(target)
    assert target.read_bytes() in (b"old", new)
    assert names(tmp_path) == [target.name]


def test_a_failing_close_does_not_hide_the_failure_of_the_write(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    failing = Failing(tmp_path, 1, persistent=True)
    with failing.installed(("open", "write", "close")), pytest.raises(OutputError):
        put(target)
    assert names(tmp_path) == []


def test_a_file_system_without_locks_is_written_or_refused_as_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with suppress(OutputError):
        Pipeline([1], [], tmp_path / "out.jsonl").run()
    gc.collect()
    assert names(tmp_path) in ([], ["out.jsonl"])


@pytest.mark.parametrize("call", ["link", "unlink"])
def test_no_clobber_leaves_no_temporary_file_when_a_call_fails(tmp_path: Path, call: str) -> None:
    target = tmp_path / "out.jsonl"
    with Failing(tmp_path, 0).installed((call,)), pytest.raises(OutputError):
        Pipeline([1], [], write(target, clobber=False)).run()
    assert names(tmp_path) in ([], ["out.jsonl"])


def test_no_clobber_keeps_a_file_that_came_up_during_the_run(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    records = (target.write_text("theirs") for _ in range(1))
    with pytest.raises(PlanError, match="exists already"):
        Pipeline(records, [], write(target, clobber=False)).run()
    assert target.read_text() == "theirs"
    assert names(tmp_path) == ["out.jsonl"]
    with pytest.raises(PlanError, match="exists"):
        Pipeline([1], [], write(target, clobber=False)).run()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
def test_the_mode_is_kept(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    target.chmod(mode)
    Pipeline([1], [], target).run()
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_a_new_file_gets_what_the_umask_allows(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Pipeline([1], [], tmp_path / "out.jsonl").run()
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_temporary_file_is_private_and_locked(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with write(tmp_path / "out.jsonl.gz") as sink:
            sink.write(1)
            (temporary,) = tmp_path.iterdir()
            assert re.fullmatch(r"\.out\.jsonl\.gz\.[0-9a-f]{16}\.paipa-tmp", temporary.name)
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            with temporary.open() as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.umask(before)
    assert names(tmp_path) == ["out.jsonl.gz"]


def test_a_planted_link_at_the_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("paipa_etl.sinks.local.temporary_name", lambda name: "planted")
    (tmp_path / "planted").symlink_to("victim")
    with pytest.raises(OutputError):
        Pipeline([1], [], tmp_path / "out.jsonl").run()
    assert victim.read_text() == "precious"
    assert names(tmp_path) == ["planted", "victim"]


@pytest.mark.parametrize("name", ["n" * 255, "n" * 251 + ".txt", "ü" * 127])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    Pipeline(["a"], [], tmp_path / name).run()
    assert names(tmp_path) == [name]


def test_a_name_that_is_not_utf8_can_be_written(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe" + b"\xfd" * 240))
    Pipeline([1], [], path).run()
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(path.name)]


def test_a_name_that_is_too_long_is_a_failed_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        Pipeline([1], [], tmp_path / ("n" * 256)).run()


def test_a_symbolic_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to("far/real.jsonl")
    Pipeline([1], [], tmp_path / "link.jsonl").run()
    assert os.readlink(tmp_path / "link.jsonl") == "far/real.jsonl"
    assert (tmp_path / "far" / "real.jsonl").read_text() == "1\n"
    assert names(tmp_path / "far") == ["real.jsonl"]


def test_a_dangling_link_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to("new.jsonl")
    Pipeline([1], [], tmp_path / "link.jsonl").run()
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "new.jsonl").read_text() == "1\n"


def test_a_link_that_leads_nowhere_or_in_circles_is_a_failed_output(tmp_path: Path) -> None:
    (tmp_path / "lost").symlink_to("missing/new")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("lost", "loop"):
        with pytest.raises(OutputError):
            Pipeline([1], [], tmp_path / name).run()
    assert names(tmp_path) == ["loop", "lost"]


def test_another_name_of_the_old_file_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text("old")
    os.link(tmp_path / "one.jsonl", tmp_path / "two.jsonl")
    Pipeline([1], [], tmp_path / "one.jsonl").run()
    assert (tmp_path / "two.jsonl").read_text() == "old"


def test_a_fifo_is_written_as_it_is(paipa: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.jsonl"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE) as cat:
        assert paipa("-", fifo, input=b"1\n2\n").returncode == 0
        assert cat.communicate(timeout=30)[0] == b"1\n2\n"
    assert cat.returncode == 0
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_the_null_device_is_written_and_stays(tmp_path: Path) -> None:
    assert Pipeline([1, 2], [], "/dev/null").run().written == 2
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", [".", "missing/out.jsonl", "file/out.jsonl"])
def test_what_cannot_be_written_is_found_before_a_record_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("old")
    taken: list[int] = []
    with pytest.raises(OutputError):
        Pipeline((taken.append(n) or n for n in range(3)), [], tmp_path / name).run()
    assert not taken
    assert names(tmp_path) == ["file"]


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    """A small file system, where this is permitted."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_read_only_directory_is_a_failed_output(paipa: Any, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "ro,size=64k") as small:
        done = paipa(SAMPLE, small / "out.jsonl")
        assert (done.returncode, names(small)) == (6, [])
        assert done.stderr.decode().strip().endswith("out.jsonl: Read-only file system")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_a_failed_output(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            Pipeline([1], [], tmp_path / "out.jsonl").run()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_full_disk_leaves_the_old_file_and_its_space(
    paipa: Any, tmp_path: Path, suffix: str
) -> None:
    with mounted(tmp_path / "small", "size=256k") as small:
        target = small / f"out.jsonl{suffix}"
        target.write_bytes(b"old")
        free = os.statvfs(small).f_bfree
        done = paipa(SAMPLE, target)
        assert done.returncode == 6
        assert b"No space left on device" in done.stderr
        assert str(target).encode() in done.stderr
        assert done.stderr.count(b"\n") == 1
        assert (target.read_bytes(), names(small)) == (b"old", [target.name])
        assert os.statvfs(small).f_bfree == free


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_disk_that_just_fits(paipa: Any, tmp_path: Path, over: int) -> None:
    with mounted(tmp_path / "small", "size=256k") as small:
        data = b"x" * ((256 << 10) + over - 1) + b"\n"
        done = paipa("-", "-o", small / "out.txt", "-f", "txt", input=data)
        assert done.returncode == (6 if over > 0 else 0)
        assert names(small) == ([] if over > 0 else ["out.txt"])


COUNT = 5_000
PLACES = [0, 1, COUNT // 2, COUNT - 1]


class Boom(Exception):
    pass


def explode(at: int) -> Callable[[int], int]:
    def function(n: int) -> int:
        if n == at:
            raise Boom
        return n

    return function


def exploding(records: Iterator[int], at: int) -> Iterator[int]:
    for n in records:
        yield explode(at)(n)


def plan(kind: str, at: int) -> tuple[Iterator[int], list[Any]]:
    """A source of numbers and steps, one of which fails at a record."""
    good: list[Any] = [steps.map(lambda n: n), lambda records: (n for n in records)]
    failing = {
        "map": steps.map(explode(at)),
        "filter": steps.filter(lambda n: explode(at)(n) >= 0),
        "generator": lambda records: exploding(records, at),
    }
    if kind == "source":
        return exploding(iter(range(COUNT)), at), good
    return iter(range(COUNT)), [good[0], failing[kind], good[1]]


def by_run(source: Any, made: list[Any], target: Path) -> None:
    Pipeline(source, made, target).run()


def by_with(source: Any, made: list[Any], target: Path) -> None:
    with write(target) as sink:
        sink.write_all(Pipeline(source, made))


def by_with_one_by_one(source: Any, made: list[Any], target: Path) -> None:
    with write(target) as sink:
        for record in Pipeline(source, made):
            sink.write(record)


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("kind", ["source", "map", "filter", "generator"])
@pytest.mark.parametrize("way", [by_run, by_with, by_with_one_by_one])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_exception_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, at: int, kind: str, way: Callable[..., None], suffix: str
) -> None:
    target = tmp_path / f"out.jsonl{suffix}"
    target.write_bytes(b"old")
    with pytest.raises(Boom):
        way(*plan(kind, at), target)
    assert (target.read_bytes(), names(tmp_path)) == (b"old", [target.name])


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_abandoned_generator_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, at: int, suffix: str
) -> None:
    target = tmp_path / f"out.jsonl{suffix}"
    target.write_bytes(b"old")

    def writing() -> Iterator[int]:
        with write(target) as sink:
            for n in Pipeline(iter(range(COUNT)), [steps.map(lambda n: n)]):
                sink.write(n)
                yield n

    generator: Any = writing()
    while next(generator) < at:
        pass
    assert len(names(tmp_path)) == 2
    cycle = [generator]
    cycle.append(cycle)
    del generator, cycle
    gc.collect()
    assert (target.read_bytes(), names(tmp_path)) == (b"old", [target.name])


def test_a_sink_that_was_opened_and_forgotten_leaves_nothing(tmp_path: Path) -> None:
    sink = write(tmp_path / "out.jsonl").__enter__()
    sink.write(1)
    del sink
    gc.collect()
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_kill_in_mid_write_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    target, fifo = tmp_path / f"out.jsonl{suffix}", tmp_path / "in.fifo"
    target.write_bytes(b"old")
    os.mkfifo(fifo)
    command = [*COMMAND, str(fifo), str(target), "-f", "jsonl"]
    with subprocess.Popen(command) as process, fifo.open("wb", buffering=0) as feed:
        feed.write(os.urandom(1 << 20).hex().encode().join((b'"', b'"\n')) * 4)
        wait_for(lambda: any(size(path) > 0 for path in tmp_path.glob(".out*.paipa-tmp")))
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    (left,) = tmp_path.glob(".out*.paipa-tmp")
    with left.open() as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who cleans up can tell it is dead
    left.unlink()
    Pipeline([1], [], target).run()
    assert list(read(target)) == [1]


def size(path: Path) -> int:
    return path.stat().st_size


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; a hang guard, not a measurement."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    calls: list[str] = []

    def told(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any) -> Any:
            if concerns(tmp_path, words[0]):
                calls.append(name if not is_directory(words[0]) else f"{name} of the directory")
            return real(*words)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, told(name, getattr(os, name)))
        Pipeline([1], [], tmp_path / "out.jsonl").run()
    assert calls == ["fsync", "replace", "fsync of the directory"]


def is_directory(subject: Any) -> bool:
    return stat.S_ISDIR(os.stat(subject).st_mode)
