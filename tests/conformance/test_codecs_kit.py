"""The kit of codecs: what was written is read; cut or damaged, it is an error with its byte."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from paipa_etl import (
    DamagedInput,
    PaipaError,
    Pipeline,
    PlanError,
    codecs,
    combine_pipeline,
    read,
    steps,
    write,
)
from paipa_etl.codecs import Codec
from paipa_etl.codecs.members import TRIP
from paipa_etl.errors import PaipaWarning

from .codec_samples import (
    NOISE,
    RECORDS,
    SAMPLES,
    TEXT,
    Short,
    codec_of,
    decode,
    decoder_of,
    encode,
    records_of,
    suffix_of,
    written,
)

NAMES = [codec.name for codec in codecs.registered()]
FLUSHING = [codec.name for codec in codecs.registered() if codec.flushes]  # others end a stream
BIG = random.Random(3).randbytes(1 << 20) * 2 + bytes(1 << 20)


def test_every_codec_has_a_sample_and_the_example_of_somebody_else_is_among_them() -> None:
    assert "zlib-streams" in NAMES
    assert set(NAMES) == SAMPLES.keys(), "what is registered is in codec_samples.py, and no more"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 2, 4095, 4096, TRIP, TRIP + 1, len(BIG)])
def test_any_size_in_any_pieces_is_decoded_as_it_was(name: str, size: int) -> None:
    data = BIG[len(BIG) // 2 - size // 2 :][:size]
    compressor = codec_of(name).start_compressor(None)
    pieces = [compressor.compress(data[at : at + 300_001]) for at in range(0, size, 300_001)]
    encoded = b"".join([*pieces, compressor.finish()])
    for trip in (777, 1 << 19):
        assert decode(name, encoded, trip) == data


@pytest.mark.parametrize("name", NAMES)
def test_an_input_cut_in_two_anywhere_gives_the_same(name: str) -> None:
    data = encode(name, TEXT[:500]) + encode(name, TEXT[500:900])
    for at in range(len(data) + 1):
        decoder = decoder_of(name)
        pieces = [*decoder.feed(data[:at]), *decoder.feed(data[at:])]
        decoder.finish()
        assert b"".join(pieces) == TEXT[:900]
        assert (decoder.encoded, decoder.decoded) == (len(data), 900)


@pytest.mark.parametrize("name", NAMES)
def test_a_pause_shows_all_that_was_written(name: str) -> None:
    compressor, decoder = codec_of(name).start_compressor(None), decoder_of(name)
    for size in (10, 0, 5_000, 1):
        data = (TEXT * 2)[:size]
        encoded = compressor.compress(data) + compressor.pause()
        assert b"".join(decoder.feed(encoded)) == data
    assert b"".join(decoder.feed(compressor.finish())) == b""
    decoder.finish()


@pytest.mark.parametrize("name", NAMES)
def test_magic_bytes_are_known_from_any_head(name: str) -> None:
    for level in {*codec_of(name).levels}:
        data = encode(name, TEXT, level)
        assert codecs.detect(data[:64]) is codec_of(name)
        first = next(n for n in range(64) if codecs.detect(data[:n]))
        assert all(codecs.may_be_magic(data[:n]) for n in range(first))


@pytest.mark.parametrize("name", NAMES)
def test_names_and_suffixes_lead_to_the_codec(name: str) -> None:
    codec = codec_of(name)
    for word in (codec.name, *codec.suffixes, codec.suffixes[0].upper()):
        assert codecs.from_suffix(word) is codec
    assert pickle.loads(pickle.dumps(codec)) is codec  # noqa: S301  (our own bytes)


def decoded_there(codec: Codec, data: bytes) -> tuple[int, bytes]:
    return os.getpid(), decode(codec.name, data)


@pytest.mark.keeps_descriptors  # of the process that multiprocessing keeps beside spawned ones
def test_a_process_that_gets_codecs_by_pickle_does_the_same() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for name in NAMES:
            process, data = pool.submit(decoded_there, codec_of(name), encode(name, TEXT)).result()
            assert (data, process != os.getpid()) == (TEXT, True)


@pytest.mark.parametrize("name", NAMES)
def test_threads_give_the_same_output(name: str, tmp_path: Path) -> None:
    """Read ahead by one thread and compressed by another, or not."""
    source, suffix = tmp_path / f"in.jsonl.{suffix_of(name)}", suffix_of(name)
    source.write_bytes(encode(name, TEXT * 20))
    for number, workers in enumerate((None, 3)):
        Pipeline(source, [steps.map(dict, workers=workers)], tmp_path / f"{number}.{suffix}").run()
    assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()
    assert list(read(tmp_path / f"0.{suffix}")) == RECORDS * 20


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trip", [1, 7, 4096, 65536])
def test_members_are_one_stream_in_any_pieces(name: str, trip: int) -> None:
    middle = len(TEXT) // 2 + TEXT[len(TEXT) // 2 :].index(b"\xa9")  # inside a character
    parts = [b"", TEXT[:middle], b"", TEXT[middle:], b""]
    assert decode(name, b"".join(encode(name, part) for part in parts), trip) == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_at_any_byte_is_an_error(name: str) -> None:
    data = encode(name, TEXT)
    for end in range(len(data)):
        with pytest.raises(DamagedInput):
            decode(name, data[:end])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tail", [b"x", b"trailing bytes", b"\xff" * 600])
def test_trailing_bytes_are_an_error(name: str, tail: bytes) -> None:
    with pytest.raises(DamagedInput):
        decode(name, encode(name, TEXT) + tail)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_is_a_valid_file(name: str) -> None:
    assert decode(name, encode(name, b"")) == b""
    with pytest.raises(DamagedInput):
        decode(name, b"")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_round_trip(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x.jsonl.{suffix_of(name)}"
    records = [{"n": n} for n in range(1000)]
    with write(path) as sink:
        sink.write_all(records)
    assert list(read(path)) == records
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 1])
    with pytest.raises(PaipaError):
        list(read(path))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 4096, 65536])
def test_short_reads_of_members_give_the_same_records(name: str, size: int) -> None:
    middle = TEXT.index(b"\xa9")  # inside a record, and inside a character of it
    data = encode(name, TEXT[:middle]) + encode(name, b"") + encode(name, TEXT[middle:])
    assert list(read(Short(data, size))) == RECORDS
    assert list(combine_pipeline(Short(data, size), [])) == RECORDS


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_members_are_ten_thousand_records(name: str) -> None:
    assert list(read(encode(name, b"1\n") * 10_000)) == [1] * 10_000


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_is_never_a_short_success(name: str) -> None:
    data = encode(name, NOISE)
    assert len(data) > 1700
    for end in range(len(data)):
        with pytest.raises(DamagedInput):
            records_of(data[:end], name)


@pytest.mark.parametrize("name", FLUSHING)
def test_a_cut_after_a_whole_record_inside_a_frame_is_an_error(name: str) -> None:
    codec = codec_of(name)
    compressor = codec.start_compressor(None)
    head = compressor.compress(TEXT) + compressor.pause()
    records = iter(read(head))
    assert [next(records) for _ in RECORDS] == RECORDS
    with pytest.raises(DamagedInput, match="cut"):
        next(records)
    assert len(list(read(head + compressor.finish()))) == 120


@pytest.mark.parametrize("name", NAMES)
def test_few_bytes_can_be_flipped_and_the_data_stays_what_it_was(name: str) -> None:
    data = encode(name, TEXT[:600])
    harmless = {bit // 8 for bit in range(len(data) * 8) if survives(name, data, bit)}
    assert len(harmless) <= SAMPLES[name].harmless, sorted(harmless)


def survives(name: str, data: bytes, bit: int) -> bool:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        assert decode(name, bytes(damaged)) == TEXT[:600]
    except DamagedInput:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_error_of_trailing_bytes_names_the_byte(name: str) -> None:
    data = encode(name, TEXT)
    with pytest.raises(DamagedInput) as caught:
        list(read(data + b"garbage"))
    assert len(data) <= caught.value.byte <= len(data) + 7


@pytest.mark.parametrize("name", NAMES)
def test_a_second_member_that_is_cut_is_an_error(name: str) -> None:
    data = encode(name, TEXT)
    for end in range(len(data) + 1, 2 * len(data), 7):
        with pytest.raises(DamagedInput):
            records_of((data + data)[:end], name)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_no_bytes_is_not_encoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.jsonl.{suffix_of(name)}"
    path.touch()
    with pytest.raises(DamagedInput, match="0 bytes"):
        list(read(path))


@pytest.mark.parametrize("name", NAMES)
def test_zeros_are_decoded_in_bounded_pieces(name: str) -> None:
    decoder = decoder_of(name)
    sizes = [len(piece) for piece in decoder.feed(encode(name, bytes(20_000_000)))]
    decoder.finish()
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= 1_300_000


@pytest.mark.parametrize("name", NAMES)
def test_the_same_records_give_the_same_bytes(name: str) -> None:
    assert written(name, RECORDS) == written(name, RECORDS)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_has_bytes_and_no_record(name: str) -> None:
    assert written(name, [])
    assert records_of(written(name, []), name) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_level_round_trips_and_no_other_is_taken(name: str, tmp_path: Path) -> None:
    codec = codec_of(name)
    for level in codec.levels:
        assert decode(name, encode(name, TEXT, level)) == TEXT
    for level in (codec.levels[0] - 1, codec.levels[-1] + 1):
        with pytest.raises(PlanError, match="levels"):
            Pipeline([1], [], write(tmp_path / f"x.{suffix_of(name)}", level=level)).run()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("called", ["plain.jsonl", "none", "lie.jsonl.{}"])
def test_magic_bytes_win_with_exactly_one_warning(name: str, called: str, tmp_path: Path) -> None:
    path = tmp_path / called.format("gz" if name != "gzip" else "xz")
    path.write_bytes(encode(name, TEXT))
    with pytest.warns(PaipaWarning, match=name) as caught:
        assert list(read(path)) == RECORDS
    assert len(caught) == 1


@pytest.mark.parametrize("name", NAMES)
def test_magic_bytes_win_silently_where_there_is_no_name(name: str) -> None:
    data = encode(name, TEXT)
    assert list(read(data)) == list(read(io.BytesIO(data))) == RECORDS


@pytest.mark.parametrize("name", NAMES)
def test_plain_text_with_a_codecs_name_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.jsonl.{suffix_of(name)}"
    path.write_bytes(TEXT)
    with pytest.raises(DamagedInput, match=re.escape(path.name)):
        list(read(path))


@pytest.mark.parametrize("name", NAMES)
def test_every_restart_point_restarts(name: str) -> None:
    parts = [TEXT[:100], b"", TEXT[100:333], TEXT[333:]]
    padding = bytes(8) if codec_of(name).padding else b""
    data = padding.join(encode(name, part) for part in parts)
    decoder, points = decoder_of(name), set()
    for at in range(len(data)):
        list(decoder.feed(data[at : at + 1]))
        points.add(decoder.restart)
    assert len(points) == 4
    for encoded, decoded in points:
        assert decode(name, data[encoded:]) == TEXT[decoded:]
