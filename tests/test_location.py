"""Locations: parsed once, never opened; what a message shows of them holds no secret."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paipa_etl import PaipaError, Pipeline, PlanError, read, write
from paipa_etl.location import parse
from paipa_etl.schemes import BYTES, LOCAL, OBJECT, STANDARD


class BytesPath:
    """A path that is bytes, as os.PathLike allows."""

    def __fspath__(self) -> bytes:
        return b"dir/a.jsonl"


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ("a.jsonl", "a.jsonl"),
        ("/tmp/a b.jsonl", "/tmp/a b.jsonl"),
        ("a%20b", "a%20b"),
        ("C:x", "C:x"),
        ("file:a://b", "file:a://b"),
        ("./s3://x", "./s3://x"),
        (Path("-"), "-"),
        (Path("a.jsonl"), "a.jsonl"),
        (BytesPath(), "dir/a.jsonl"),
        ("file:///tmp/a%20b.jsonl", "/tmp/a b.jsonl"),
        ("file://localhost/tmp/a", "/tmp/a"),
        ("FILE:///tmp/a", "/tmp/a"),
        ("~/a", os.path.expanduser("~/a")),
    ],
)
def test_a_local_path(spec: Any, target: str) -> None:
    location = parse(spec)
    assert (location.scheme, location.target) == (LOCAL, target)


@pytest.mark.parametrize(
    ("spec", "scheme"),
    [
        ("-", STANDARD),
        (b"1\n", BYTES),
        (bytearray(b"1\n"), BYTES),
        (memoryview(b"1\n"), BYTES),
        (io.BytesIO(), OBJECT),
        ("s3://bucket/key", "s3"),
        ("S3://bucket/key", "s3"),
        ("https://example.org/a", "https"),
        ("git+ssh://example.org/a", "git+ssh"),
    ],
)
def test_the_scheme_names_the_store(spec: Any, scheme: str) -> None:
    assert parse(spec).scheme == scheme


@pytest.mark.parametrize(
    "spec", ["", "a\0b", "file://host/a", "file://localhost", 3, None, object()]
)
def test_what_is_no_location_is_a_plan_error(spec: Any) -> None:
    with pytest.raises(PlanError):
        parse(spec)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:99999/a.jsonl", "its port is no number from 1 to 65535"),
        ("http://127.0.0.1:0/a.jsonl", "its port is no number from 1 to 65535"),
        ("sftp://127.0.0.1:hidden/a.jsonl", "its port is no number from 1 to 65535"),
        ("http://[::1/a.jsonl", "its host is no name and no address; that of IPv6 stands in"),
        ("http://", "its host is missing: http://host/path"),
        ("https://:80/a", "its host is missing: https://host/path"),
        ("sftp:///a?hidden", "its host is missing: sftp://host/path"),
        ("https://bob:hid/den@example.org/a", "a / ? # or @ of a password is written as"),
        ("https://bob:hidden@example.org:99999/a", "a / ? # or @ of a password is written as"),
        ("https://bob:hidden@/a", "a / ? # or @ of a password is written as"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_and_nothing_of_it_quoted(url: str, problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(url)
    assert str(caught.value).startswith(f"not a URL: {url.partition(':')[0]}://… ({problem}")
    assert "hid" not in str(caught.value)


def test_an_escaped_nul_in_a_file_url_is_a_plan_error() -> None:
    with pytest.raises(PlanError):
        parse("file:///tmp/a%00b")


def test_a_location_is_its_own_location() -> None:
    location = parse("s3://bucket/key")
    assert parse(location) is location


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("dir/a.jsonl.gz", "a.jsonl.gz"),
        ("https://example.org/d/a.jsonl.gz?versionId=3#top", "a.jsonl.gz"),
        ("s3://bucket/d/a%20b.jsonl.zst", "a%20b.jsonl.zst"),
        ("s3://bucket", ""),
        ("-", ""),
        (b"a.gz", ""),
    ],
)
def test_the_name_is_the_last_part_of_the_path(spec: Any, name: str) -> None:
    assert parse(spec).name == name


@pytest.mark.parametrize("mark", ["*", "?", "[ab]"])
def test_only_local_paths_are_globs(mark: str) -> None:
    assert parse(f"a{mark}.jsonl").is_glob
    assert not parse("a.jsonl").is_glob
    assert parse(f"s3://bucket/a{mark}.jsonl").is_glob
    assert not parse(f"https://example.org/a{mark}.jsonl").is_glob


@pytest.mark.parametrize(
    "url",
    [
        "https://bob:hidden@example.org/x.jsonl.gz",
        "https://hidden@example.org/x.jsonl.gz",
        "https://bob:hid@hidden@example.org/x.jsonl.gz",
        "https://example.org/x.jsonl.gz?X-Amz-Signature=hidden",
        "https://example.org/x.jsonl.gz#hidden",
        "sftp://bob:hidden@example.org:22/x.jsonl.gz",
        "s3://key:hidden@bucket/x.jsonl.gz",
    ],
)
def test_no_secret_of_a_url_is_shown(url: str) -> None:
    location = parse(url)
    assert "hidden" not in str(location)
    assert str(location).endswith("/x.jsonl.gz")
    assert location.target == url


@pytest.mark.parametrize("mark", ["/", "?", "#"])
def test_a_secret_with_a_mark_of_urls_in_it_is_not_shown(mark: str) -> None:
    location = parse(f"s3://key:first{mark}hidden@bucket/x.jsonl")
    assert "first" not in str(location)
    assert "hidden" not in str(location)


def test_a_url_that_cannot_be_parsed_is_an_error_of_our_own() -> None:
    with pytest.raises(PaipaError):
        list(read("https://[::1/x.jsonl"))


@given(st.text(min_size=1))
def test_whatever_is_shown_is_safe_on_a_terminal(text: str) -> None:
    name = text.replace("\0", "") or "x"
    assert str(parse("./" + name)).isprintable()


def test_bytes_and_objects_show_what_they_are_and_not_what_they_hold() -> None:
    assert str(parse(b"secret")) == "<6 bytes>"
    assert str(parse(io.BytesIO(b"secret"))) == "<BytesIO>"
    assert "secret" not in repr(parse(b"secret"))


FOLDERS = ["s3://b/dir/", "s3://b//", "gs://b/a/b/", "az://c/d/", "sftp://h/d/", "s3://b/x.jsonl/"]


@pytest.mark.parametrize("text", FOLDERS)
def test_a_folder_of_a_store_is_neither_input_nor_output(text: str) -> None:
    with pytest.raises(PlanError, match=r"folder.*/\*"):
        read("a.jsonl", text)
    with pytest.raises(PlanError, match=r"folder.*data\.jsonl"):
        write(text)
    with pytest.raises(PlanError, match="folder"):
        Pipeline([1], [], text)


@pytest.mark.parametrize("words", [("in.jsonl", "s3://b/dir/"), ("s3://b/dir/", "out.jsonl")])
def test_the_command_refuses_a_folder_before_it_reads(
    words: tuple[str, str], paipa: Any, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    (tmp_path / "list.txt").write_text("in.jsonl\ns3://b/dir/\n")
    done = paipa(*words)
    assert (done.returncode, (tmp_path / "out.jsonl").exists()) == (2, False)
    assert b"s3://b/dir/" in done.stderr
    assert paipa("in.jsonl", "-o", "s3://b/{stem}/").returncode == 2
    assert paipa("--files-from", "list.txt", "out.jsonl").returncode == 2


def test_an_http_input_may_end_in_a_slash() -> None:
    assert str(read("https://example.org/feed/").source) == "https://example.org/feed/"


def test_a_local_folder_is_refused(paipa: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"1\n")
    (tmp_path / "dir").mkdir()
    for name in ("dir", "dir/"):
        assert paipa("in.jsonl", name).returncode in (2, 6)
        assert paipa(name, "out.jsonl").returncode == 3
    assert paipa("in.jsonl", "missing/").returncode in (2, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir", "in.jsonl"]
