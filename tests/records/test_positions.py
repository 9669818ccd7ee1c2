"""Positions: from each block's restart point, a fresh decoder gives the rest of the input."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from paipa_etl import codecs
from paipa_etl.codecs import Codec
from paipa_etl.codecs.members import POINTS, MemberDecoder
from paipa_etl.formats import by_name
from paipa_etl.location import parse
from paipa_etl.records.batch import decoded
from paipa_etl.records.blocks import BLOCK, DECODED_BLOCK, Limits, Position
from paipa_etl.run import new_run
from paipa_etl.sources.files import FileSource
from paipa_etl.sources.pieces import MOST_RESTARTS

SUFFIXES = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst", "lz4": ".lz4", "": ""}
CODECS = [name for name in SUFFIXES if name]
LINES = [b'{"number": %d, "text": "%b"}\n' % (n, b"x" * (n * 37 % 150)) for n in range(8_000)]
TEXT = b"".join(LINES)
SIZES = pytest.mark.parametrize("size", [DECODED_BLOCK, BLOCK])


@dataclass(repr=False)
class File:
    """An encoded file, what it decodes to, and where each of its members begins."""

    codec: str
    text: bytes
    encoded: bytes = b""
    points: tuple[tuple[int, int], ...] = ()

    def last_point(self, offset: int) -> tuple[int, int]:
        """The last restart point at or before a decoded byte; any byte of a plain file is one."""
        if not self.codec:
            return offset, offset
        return [point for point in self.points if point[1] <= offset][-1]


def encode(name: str, data: bytes) -> bytes:
    codec = codecs.from_suffix(name)
    assert codec is not None
    compressor = codec.start_compressor(1)
    return compressor.compress(data) + compressor.finish()


def file_of(codec: str, parts: Sequence[bytes]) -> File:
    """A file with one member for each part."""
    if not codec:
        return File(codec, b"".join(parts), b"".join(parts))
    members = [encode(codec, part) for part in parts]
    points, encoded, plain = [], 0, 0
    for member, part in zip(members, parts, strict=True):
        points.append((encoded, plain))
        encoded, plain = encoded + len(member), plain + len(part)
    return File(codec, b"".join(parts), b"".join(members), tuple(points))


def cut(text: bytes, length: int) -> list[bytes]:
    """Parts of a fixed length, whose ends do not align with lines."""
    return [text[start : start + length] for start in range(0, len(text), length)]


def with_lines(count: int) -> list[bytes]:
    """Parts of whole lines."""
    step = len(LINES) // count
    return [b"".join(LINES[start : start + step]) for start in range(0, len(LINES), step)]


SHAPES = {
    "500 small members": with_lines(500),
    "members that end within lines": cut(TEXT, 1_777),
    "large members": with_lines(4),
    "large members that end within lines": cut(TEXT, 200_003),
    "one member": [TEXT],
    "empty members": [part for line in with_lines(100) for part in (b"", line, b"")],
    "small members, then a large one": [*cut(TEXT[:50_000], 900), TEXT[50_000:]],
    "blank lines, none at the end": cut(b"\n\n" + TEXT[:300_000].replace(b"}\n", b"}\n\n"), 5_000),
    "a byte order mark": cut(b"\xef\xbb\xbf" + TEXT[:300_000], 3_000),
    "members of one line": LINES[:1_500],
}


def positions(source: FileSource, size: int) -> Iterator[tuple[str, Position, bytes]]:
    """The position of each block that has bytes, and the input it is from."""
    run = new_run()
    with closing(source.blocks(run, size)) as blocks:
        for given in blocks:
            if given.block.data:
                decoded(given)  # a block is done before the next one is asked for
                yield str(given.origin.source), given.block.position, given.block.data
    run.over()


def decode_from(file: File, position: Position) -> bytes:
    """The decoded bytes from a block on, as somebody who resumes there gets them."""
    rest = file.encoded[position.encoded :]
    codec = codecs.from_suffix(file.codec)
    if codec is not None:
        decoder = MemberDecoder(codec.name, codec.member, codec.padding)
        rest = b"".join(decoder.feed(rest))
        decoder.finish()
    return rest[position.offset - position.restart :]


def check(file: File, found: Sequence[tuple[str, Position, bytes]]) -> None:
    """Each block can be resumed at, decoding no more than necessary; none is left out."""
    end, encoded = len(file.text) - len(b"".join(data for *_, data in found)), 0
    assert end == (3 if file.text.startswith(b"\xef\xbb\xbf") else 0)
    for _, position, data in found:
        assert position.offset == end
        assert file.text.startswith(data, end)
        same = decode_from(file, position) == file.text[position.offset :]
        assert same, position
        assert position.line == file.text.count(b"\n", 0, position.offset) + 1
        assert (position.encoded, position.restart) == file.last_point(position.offset)
        assert position.encoded >= encoded
        end, encoded = end + len(data), position.encoded


@SIZES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("codec", SUFFIXES)
def test_decoding_from_the_restart_of_every_block_gives_the_rest_of_the_file(
    codec: str, shape: str, size: int, tmp_path: Path
) -> None:
    file = file_of(codec, SHAPES[shape])
    path = tmp_path / f"in.jsonl{SUFFIXES[codec]}"
    path.write_bytes(file.encoded)
    check(file, [*positions(FileSource((parse(path),)), size)])


@pytest.mark.parametrize("codec", SUFFIXES)
def test_a_reader_that_goes_on_at_a_position_cuts_the_rest(codec: str, tmp_path: Path) -> None:
    file = file_of(codec, SHAPES["a byte order mark"])
    path = tmp_path / f"in.jsonl{SUFFIXES[codec]}"
    path.write_bytes(file.encoded)
    for _, position, _ in positions(FileSource((parse(path),)), DECODED_BLOCK):
        reader = by_name("jsonl").reader(None, Limits(), position)
        blocks = [*reader.cut([decode_from(file, position)])]
        same = b"".join(block.data for block in blocks) == file.text[position.offset :]
        assert same, position
        assert blocks[0].position.offset == position.offset
        assert blocks[-1].position.offset + len(blocks[-1].data) == len(file.text)


@SIZES
@pytest.mark.parametrize("read_ahead", [False, True])
def test_each_of_several_inputs_has_positions_of_its_own(
    read_ahead: bool, size: int, tmp_path: Path
) -> None:
    files = {}
    for number, (codec, suffix) in enumerate(SUFFIXES.items()):
        file = file_of(codec, SHAPES["members that end within lines"])
        path = tmp_path / f"{number}.jsonl{suffix}"
        path.write_bytes(file.encoded)
        files[str(path)] = file
    source = FileSource(tuple(map(parse, files)), read_ahead=read_ahead)
    found = [*positions(source, size)]
    for name, file in files.items():
        check(file, [seen for seen in found if seen[0] == name])


@SIZES
@pytest.mark.parametrize("codec", SUFFIXES)
def test_silence_between_pieces_moves_no_position(codec: str, size: int) -> None:
    """A pipe that pauses within a member, within a line, and at the end of a member."""
    file = file_of(codec, SHAPES["members that end within lines"][:200])
    ends = [100, 5_000, *(point[0] for point in file.points[1:4]), 20_000, len(file.encoded)]
    found, silent = [], 0
    given = _through_pipe(file.encoded, codecs.from_suffix(codec), sorted({*ends}), size)
    with closing(given) as blocks:
        for name, position, data in blocks:
            if data:
                found.append((name, position, data))
            else:
                silent += 1
                same = decode_from(file, position) == file.text[position.offset :]
                assert same, position
                assert position.encoded <= file.last_point(position.offset)[0]
    assert silent >= 3
    check(file, found)


def _through_pipe(
    data: bytes, codec: Codec | None, ends: Sequence[int], size: int
) -> Generator[tuple[str, Position, bytes], None, None]:
    """The blocks of a pipe that is written up to each end, and further when the input is silent."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    run, todo = new_run(), [*ends]
    with open(reading, "rb"), open(writing, "wb", buffering=0) as pipe:
        source = FileSource((parse(f"/dev/fd/{reading}"),), by_name("jsonl"), codec)
        with closing(source.blocks(run, size)) as blocks:
            at = pipe.write(data[: todo.pop(0)])
            for given in blocks:
                if given.block.data:
                    decoded(given)
                yield "", given.block.position, given.block.data
                if not given.block.data and todo:
                    at += pipe.write(data[at : todo.pop(0)])
                    if not todo:
                        pipe.close()
    run.over()


def test_the_restart_points_of_a_piece_are_bounded() -> None:
    codec = codecs.from_suffix("gzip")
    assert codec is not None
    decoder, taken = MemberDecoder(codec.name, codec.member, codec.padding), []
    for data in decoder.feed(encode("gzip", b"x") * 5_000):
        taken.append(decoder.take_restarts())
        assert len(data) <= len(taken[-1]) <= POINTS
    assert [point.decoded for points in taken for point in points] == [*range(5_000)]


def test_restart_points_within_a_record_are_bounded(tmp_path: Path) -> None:
    """One record of more members than are kept: its restart points are thinned out, and right."""
    record, last = 40_000, encode("gzip", b"\nlast\n")
    path = tmp_path / "in.txt.gz"
    path.write_bytes(encode("gzip", b"x") * record + last)
    file = File("gzip", b"x" * record + b"\nlast\n", path.read_bytes())
    found = [position for _, position, _ in positions(FileSource((parse(path),)), 64)]
    assert record > MOST_RESTARTS
    assert len(found) == 2
    for position in found:
        same = decode_from(file, position) == file.text[position.offset :]
        assert same, position
    assert record - 8 < found[1].restart <= found[1].offset
