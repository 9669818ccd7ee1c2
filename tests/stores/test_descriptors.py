"""Names of descriptors, and outputs that are inputs: what is there stays, none reads itself."""

from __future__ import annotations

import gzip
import io
import os
import pty
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND

from paipa_etl import BadRecord, InputError, OutputError, Pipeline, PlanError, read, write
from paipa_etl.stores.descriptors import named_descriptor

TEN = b"".join(b"%d\n" % n for n in range(10))
HEADER = b"the header\n"
OLD = b"what was there\n"


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run lines of bash in a directory that holds ``f.jsonl``; ``$paipa`` is the command."""
    (tmp_path / "f.jsonl").write_bytes(TEN)

    def run(line: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", line],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "paipa": " ".join(COMMAND)},
            timeout=60,
            **{"capture_output": True, "stdin": subprocess.DEVNULL, **options},
        )

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Names of descriptors as outputs

STDOUT_NAMES = [
    "-",
    "/dev/stdout",
    "/dev/fd/1",
    "/proc/self/fd/1",
    "/proc/thread-self/fd/1",
    "/dev/../dev//fd/1",
    "file:///dev/stdout",
    "link",
    "far/link",
    "far/up",
]


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """Links to a descriptor's name: absolute, relative, through a folder, over several steps."""
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "far" / "link").symlink_to("../link")
    (tmp_path / "far" / "fds").symlink_to("/dev/fd")
    (tmp_path / "far" / "up").symlink_to("fds/1")
    return tmp_path


@pytest.mark.parametrize("name", STDOUT_NAMES)
@pytest.mark.parametrize("made", ["", "--map 'lambda r: r'", "--map 'lambda r: r@2'"])
def test_what_is_behind_a_descriptor_is_written_at_its_offset(
    shell: Any, links: Path, name: str, made: str
) -> None:
    done = shell(
        f"(cat header; $paipa f.jsonl -o {name} {made}; echo $?) > got", **with_header(links)
    )
    assert (done.stderr, (links / "got").read_bytes()) == (b"", HEADER + TEN + b"0\n")


def with_header(folder: Path) -> dict[str, Any]:
    (folder / "header").write_bytes(HEADER)
    return {}


@pytest.mark.parametrize("name", STDOUT_NAMES)
def test_what_is_behind_a_descriptor_is_appended_to(shell: Any, links: Path, name: str) -> None:
    (links / "got").write_bytes(OLD)
    inode = (links / "got").stat().st_ino
    done = shell(f"$paipa f.jsonl -o {name} >> got; $paipa f.jsonl -o {name} >> got")
    assert (done.returncode, (links / "got").read_bytes()) == (0, OLD + TEN + TEN)
    assert (links / "got").stat().st_ino == inode


@pytest.mark.parametrize("name", ["/dev/fd/3", "/proc/self/fd/3", "/dev/fd/63", "/dev/fd/123"])
def test_any_descriptor_can_be_written(shell: Any, tmp_path: Path, name: str) -> None:
    number = name.rpartition("/")[2]
    shell(f"exec {number}> got; echo a >&{number}; $paipa f.jsonl -o {name}; echo b >&{number}")
    assert (tmp_path / "got").read_bytes() == b"a\n" + TEN + b"b\n"


def test_a_codec_can_be_written_to_a_descriptor(shell: Any, tmp_path: Path) -> None:
    shell("exec 3>got; cat f.jsonl >&3; $paipa f.jsonl -o /dev/fd/3 -t jsonl.gz; echo end >&3")
    data = (tmp_path / "got").read_bytes()
    assert data[:20] == TEN
    assert data[-4:] == b"end\n"
    assert gzip.decompress(data[20:-4]) == TEN


def test_no_clobber_is_about_names_and_not_about_open_descriptors(
    shell: Any, tmp_path: Path
) -> None:
    done = shell("(echo a; $paipa f.jsonl -o /dev/stdout --no-clobber) > got")
    assert (done.returncode, (tmp_path / "got").read_bytes()) == (0, b"a\n" + TEN)
    assert shell("$paipa f.jsonl -o got --no-clobber").returncode == 2


def test_a_failed_run_leaves_what_was_there(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "got").write_bytes(OLD)
    done = shell("(cat f.jsonl; echo '{no') | $paipa - -o /dev/stdout >> got")
    assert done.returncode == 1
    assert (tmp_path / "got").read_bytes() == OLD + TEN


@pytest.mark.parametrize(
    ("redirected", "said"),
    [
        ("/dev/fd/9", b"descriptor 9 is closed"),
        ("/proc/self/fd/9", b"descriptor 9 is closed"),
        ("/dev/stdout >&-", b"standard output is closed"),
        ("- >&-", b"standard output is closed"),
        ("/dev/fd/9 9< f.jsonl", b"descriptor 9 is open for reading only"),
        ("- 1< f.jsonl", b"standard output is open for reading only"),
    ],
)
def test_an_output_that_is_not_open_for_writing(shell: Any, redirected: str, said: bytes) -> None:
    """Found before the input is looked at."""
    done = shell(f"$paipa missing.jsonl -o {redirected}")
    assert (done.returncode, done.stdout) == (6, b"")
    assert done.stderr.endswith(said + b"\n")


@pytest.mark.parametrize("name", ["/dev/fd/99999999999999999999", "/dev/fd/x", "/dev/fd/01"])
def test_a_name_that_no_descriptor_has(shell: Any, name: str) -> None:
    done = shell(f"$paipa f.jsonl -o {name}")
    assert done.returncode == 6
    assert b"Traceback" not in done.stderr
    assert shell(f"$paipa {name} -o out").returncode == 3


def test_a_descriptor_of_another_process_is_not_replaced(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "got").write_bytes(OLD)
    done = shell("exec 5>> got; $paipa f.jsonl -o /proc/$$/fd/5; exit $?")
    assert (done.returncode, (tmp_path / "got").read_bytes()) == (2, OLD)
    assert b"another process" in done.stderr
    assert shell("exec 5>&1; $paipa f.jsonl -o /proc/$$/fd/5 | cat").stdout == TEN


def test_links_in_circles_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert named_descriptor(str(tmp_path / "a")) is None
    with pytest.raises(OutputError):
        Pipeline([1], [], tmp_path / "a").run()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/fd/0", 0),
        (f"/proc/{os.getpid()}/fd/7", 7),
        ("/dev/fd/00", None),
        ("/dev/fd/", None),
        ("/dev/fd", None),
        ("/dev/fd/1/", None),
        ("fd/1", None),
        ("/proc/1/fd/1", None),
        ("/dev/null", None),
    ],
)
def test_names(path: str, number: int | None) -> None:
    assert named_descriptor(path) == number


# The library: the caller's descriptors stay open


@contextmanager
def opened(path: Path, mode: str) -> Iterator[int]:
    with path.open(mode) as file:
        yield file.fileno()


@pytest.mark.parametrize("fails", [False, True])
def test_a_descriptor_stays_open_for_its_owner(tmp_path: Path, fails: bool) -> None:
    with opened(tmp_path / "got", "wb") as number:
        os.write(number, HEADER)
        for _ in range(2):
            if fails:
                with pytest.raises(BadRecord):
                    Pipeline(b"1\n{no\n", [], f"/dev/fd/{number}").run()
            else:
                Pipeline([1], [], f"/dev/fd/{number}").run()
        os.write(number, b"end\n")
    assert (tmp_path / "got").read_bytes() == HEADER + b"1\n1\n" + b"end\n"


def test_an_input_stays_open_for_its_owner_and_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(HEADER + TEN)
    with opened(tmp_path / "in", "rb") as number:
        os.lseek(number, len(HEADER), os.SEEK_SET)
        pipeline = read(f"/dev/fd/{number}")
        assert list(pipeline) == list(range(10))
        with pytest.raises(PlanError, match="only once"):
            list(pipeline)
        assert os.lseek(number, 0, os.SEEK_CUR) == len(HEADER + TEN)


# Names of descriptors as inputs


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "link"])
@pytest.mark.parametrize("made", ["", "--map 'lambda r: r@2'"])
def test_an_input_is_read_from_its_offset(shell: Any, tmp_path: Path, name: str, made: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdin")
    (tmp_path / "in").write_bytes(HEADER + TEN)
    done = shell(f"(read first; $paipa {name} -o out.jsonl {made}) < in")
    assert (done.returncode, (tmp_path / "out.jsonl").read_bytes()) == (0, TEN)


@pytest.mark.parametrize("line", ["<(cat f.jsonl)", "<(gzip -c f.jsonl)", "/dev/fd/3 3< f.gz"])
def test_the_codec_of_a_descriptor_is_found_by_its_first_bytes(shell: Any, line: str) -> None:
    assert shell(f"gzip -k -c f.jsonl > f.gz; $paipa {line} -o -").stdout == TEN


def test_a_socket_that_is_standard_input_can_be_named(tmp_path: Path) -> None:
    """It cannot be opened by its name."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(TEN)
        ours.shutdown(socket.SHUT_WR)
        words = [*COMMAND, "/dev/stdin", "/dev/stdout"]
        done = subprocess.run(words, stdin=theirs, stdout=theirs, timeout=60, check=False)
        assert done.returncode == 0
        assert ours.recv(1000) == TEN


@pytest.mark.parametrize(
    ("redirected", "said"),
    [
        ("/dev/fd/9", b"descriptor 9 is closed"),
        ("/dev/stdin <&-", b"standard input is closed"),
        ("- <&-", b"standard input is closed"),
        ("/dev/fd/9 9> other", b"descriptor 9 is open for writing only"),
        ("- 0> other", b"standard input is open for writing only"),
    ],
)
def test_an_input_that_is_not_open_for_reading(
    shell: Any, tmp_path: Path, redirected: str, said: bytes
) -> None:
    done = shell(f"$paipa -o out.jsonl {redirected}")
    assert done.returncode == 3
    assert done.stderr.endswith(said + b"\n")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("number", range(3, 12))
def test_a_number_that_is_closed_is_never_one_of_the_runs_own(
    shell: Any, tmp_path: Path, number: int
) -> None:
    """The output and what wakes a wait get numbers too, while the first input is read."""
    done = shell(f"(echo 1; sleep 0.1; echo 2) | $paipa - /dev/fd/{number} -o out.jsonl")
    assert (done.returncode, names(tmp_path)) == (3, ["f.jsonl"])
    assert done.stderr.endswith(b"descriptor %d is closed\n" % number)


def test_a_list_of_inputs_is_read_from_its_offset(shell: Any) -> None:
    line = "(read first; $paipa --files-from {} -) < list"
    for name in ("-", "/dev/stdin", "/dev/fd/0"):
        done = shell("printf 'nothing\\nf.jsonl\\n' > list; " + line.format(name))
        assert (done.returncode, done.stdout) == (0, TEN)


def test_the_size_of_an_input_is_what_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(HEADER + TEN)
    with opened(tmp_path / "in", "rb") as number:
        os.lseek(number, len(HEADER), os.SEEK_SET)
        source = read(f"/dev/fd/{number}").source
        assert source.size(Pipeline([]).new_run()) == len(TEN)


# Reports


def test_a_report_is_written_at_the_offset_of_its_descriptor(shell: Any, tmp_path: Path) -> None:
    shell("exec 3> got; echo a >&3; $paipa f.jsonl -o out --report /dev/fd/3; echo b >&3")
    lines = (tmp_path / "got").read_bytes().splitlines()
    assert (lines[0], lines[1], lines[-1]) == (b"a", b"{", b"b")


@pytest.mark.parametrize(
    "words",
    [
        "f.jsonl -o - --report /dev/stdout > got",
        "f.jsonl -o - --report got >> got",
        "f.jsonl -o got --report /dev/fd/3 3>> got",
        "f.jsonl -o /dev/fd/4 --report /dev/fd/3 3>> got 4>> got",
        "got -o out --report /dev/fd/3 3>> got",
        "- -o out --report got < got",
        "/dev/stdin -o out --report got < got",
        "- -o out --report /dev/fd/3 < got 3>> got",
    ],
)
def test_a_report_that_is_the_output_or_an_input(shell: Any, tmp_path: Path, words: str) -> None:
    (tmp_path / "got").write_bytes(b"" if "> got" in words and ">> got" not in words else TEN)
    before = (tmp_path / "got").read_bytes()
    done = shell(f"$paipa {words}")
    assert (done.returncode, (tmp_path / "got").read_bytes()) == (2, before)
    assert b"report" in done.stderr


@pytest.mark.parametrize("words", ["/dev/fd/9", "/dev/fd/9 9< /dev/null"])
def test_a_report_that_cannot_be_written_is_found_before_the_run(
    shell: Any, tmp_path: Path, words: str
) -> None:
    done = shell(f"$paipa f.jsonl -o out --report {words}")
    assert (done.returncode, names(tmp_path)) == (6, ["f.jsonl"])


# An output that is an input


@pytest.mark.parametrize(
    "words",
    [
        "f.jsonl - >> f.jsonl",
        "f.jsonl >> f.jsonl",
        "f.jsonl /dev/stdout >> f.jsonl",
        "./f.jsonl -o /dev/fd/1 >> f.jsonl",
        "f.jsonl -o /dev/fd/3 3>> f.jsonl",
        "f.jsonl -o /dev/fd/3 3<> f.jsonl",
        "hard.jsonl - >> f.jsonl",
        "soft.jsonl - >> f.jsonl",
        "f.jsonl - >> soft.jsonl",
        "other.jsonl f.jsonl -o - >> f.jsonl",
        "'*.jsonl' - >> f.jsonl",
        "'**/*.jsonl' - >> f.jsonl",
        "file://$PWD/f.jsonl - >> f.jsonl",
        "- - < f.jsonl >> f.jsonl",
        "< f.jsonl >> f.jsonl",
        "/dev/stdin - < f.jsonl >> f.jsonl",
        "/dev/stdin /dev/stdout < f.jsonl >> f.jsonl",
        "/dev/fd/5 /dev/fd/4 5< f.jsonl 4>> hard.jsonl",
        "/dev/fd/4 /dev/fd/4 4<> f.jsonl",
        "- - 1<> f.jsonl 0<&1",
        "f.jsonl - --limit 1 >> f.jsonl",
        "f.jsonl - --map 'lambda r: r@2' >> f.jsonl",
        "f.jsonl - -n >> f.jsonl",
        "f.jsonl - -t jsonl.gz >> f.jsonl",
        "--files-from list - >> f.jsonl",
    ],
)
def test_an_output_that_is_an_input_is_refused(shell: Any, tmp_path: Path, words: str) -> None:
    os.link(tmp_path / "f.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "soft.jsonl").symlink_to("f.jsonl")
    (tmp_path / "other.jsonl").write_bytes(b"1\n")
    (tmp_path / "list").write_bytes(b"other.jsonl\nf.jsonl\n")
    done = shell(f"$paipa {words}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert (tmp_path / "f.jsonl").read_bytes() == TEN
    assert done.stderr.count(b"\n") == 1
    assert b"is both an input and the output" in done.stderr


def test_a_file_that_the_shell_has_emptied_is_refused_too(shell: Any) -> None:
    assert shell("$paipa < f.jsonl > f.jsonl").returncode == 2


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("- g.jsonl < g.jsonl", {"g.jsonl": TEN}),
        ("/dev/stdin g.jsonl < g.jsonl", {"g.jsonl": TEN}),
        ("f.jsonl - < g.jsonl >> g.jsonl", {"g.jsonl": TEN + TEN}),
        ("f.jsonl out.jsonl >> f.jsonl", {"out.jsonl": TEN, "f.jsonl": TEN}),
        ("f.jsonl - >> out.jsonl", {"out.jsonl": TEN}),
        ("- - < /dev/null > /dev/null", {}),
        ("/dev/null /dev/null", {}),
        ("/dev/null - > /dev/null", {}),
    ],
)
def test_what_is_no_clash_goes_on(
    shell: Any, tmp_path: Path, words: str, files: dict[str, bytes]
) -> None:
    (tmp_path / "g.jsonl").write_bytes(TEN)
    done = shell(f"$paipa {words}")
    assert (done.returncode, done.stderr) == (0, b"")
    for name, data in files.items():
        assert (tmp_path / name).read_bytes() == data


def test_a_pipe_a_socket_and_a_terminal_may_be_both_ends(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(TEN)
        ours.shutdown(socket.SHUT_WR)
        done = subprocess.run([*COMMAND], stdin=theirs, stdout=theirs, timeout=60, check=False)
        assert (done.returncode, ours.recv(1000)) == (0, TEN)
    master, slave = pty.openpty()
    try:
        with subprocess.Popen([*COMMAND, "-", "-"], stdin=slave, stdout=slave) as process:
            os.write(master, b"1\n\x04")
            assert process.wait(60) == 0
        assert os.read(master, 100) == b"1\r\n1\r\n"
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("mode", ["ab", "r+b"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_file_objects_of_one_file_are_refused(tmp_path: Path, mode: str, buffering: int) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(TEN)
    with path.open(mode, buffering=buffering) as target, path.open("rb") as source:
        for given in (path, str(path), source, f"/dev/fd/{source.fileno()}", [path, b"1\n"]):
            inputs = given if isinstance(given, list) else [given]
            with pytest.raises(PlanError, match="both an input and the output"):
                (read(*inputs) | write(target)).run()
    assert path.read_bytes() == TEN


def test_a_file_object_of_a_file_that_is_replaced_is_no_clash(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(TEN)
    with path.open("rb") as source:
        (read(source) | write(path)).run()
    assert path.read_bytes() == TEN


@pytest.mark.parametrize("make", [io.BytesIO, tempfile.TemporaryFile])
def test_one_file_object_is_not_both_ends_unless_it_is_a_stream(make: Any) -> None:
    with make() as file:
        file.write(TEN)
        file.seek(0)
        with pytest.raises(PlanError, match="both an input and the output"):
            Pipeline(file, [], file).run()
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rwb") as file:
        ours.sendall(TEN)
        ours.shutdown(socket.SHUT_WR)
        Pipeline(file, [], file).run()
        assert ours.recv(1000) == TEN


def test_objects_without_a_descriptor_are_never_the_same(tmp_path: Path) -> None:
    found = io.BytesIO()
    assert Pipeline(io.BytesIO(TEN), [], found).run().written == 10
    (tmp_path / "f.jsonl").write_bytes(TEN)
    assert Pipeline(tmp_path / "f.jsonl", [], io.BytesIO()).run().written == 10


def test_an_input_that_is_a_closed_file_object_is_a_failed_input(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_bytes(TEN)
    file = (tmp_path / "f.jsonl").open("rb")
    file.close()
    with pytest.raises((InputError, ValueError), match="closed"):
        Pipeline(file, [], io.BytesIO()).run()
