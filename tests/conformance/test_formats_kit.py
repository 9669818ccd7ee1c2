"""The kit of formats: the same records and places for any pieces, and what is written is read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import pytest
from pieces import Pieces, of_size, split

from paipa_etl import BadRecord, Pipeline, PlanError, formats, read, steps, write
from paipa_etl.failures import Place
from paipa_etl.formats import Format, NoRecord, Options
from paipa_etl.optimizer.fuse import BlockTask, fuse
from paipa_etl.records.batch import decoded, validated
from paipa_etl.records.blocks import BLOCK, Block, Limits
from paipa_etl.records.places import SourceBlock
from paipa_etl.run import new_run
from paipa_etl.run.report import Counts, report_of
from paipa_etl.sources.files import FileSource
from paipa_etl.steps.contract import flatten_steps

from . import in_process
from .format_samples import NONE, SAMPLES, FormatSample, Row

NAMES = [format.name for format in formats.registered()]
SIZES = [1, 16, BLOCK]


@pytest.fixture(params=NAMES)
def format(request: pytest.FixtureRequest) -> Format:
    return formats.by_name(request.param)


@pytest.fixture
def sample(format: Format) -> FormatSample:
    assert format.name in SAMPLES, f"{format.name} is registered, and format_samples.py lacks it"
    return SAMPLES[format.name]


def test_the_example_of_somebody_else_is_among_them() -> None:
    assert "table" in NAMES


def blocks_of(format: Format, pieces: Iterable[bytes], size: int = BLOCK, at: Any = None) -> Any:
    """The blocks that hold records."""
    reader = format.reader(format.options(), Limits(10_000, size), at)
    return [block for block in reader.cut(pieces) if block.data]


def rows_of(format: Format, block: Block) -> list[Row]:
    """The raw bytes and the records of a block; the fast decoder gives the same, or raises."""
    decoder = format.decoder(block.context)
    found, found_by_fast = [], []
    raws, fast = decoder.rows(block)
    for raw in raws:
        try:
            found.append(Row(raw, decoder.decode(raw)))
            decoder.validate(raw)
        except NoRecord:
            with pytest.raises(NoRecord):
                decoder.validate(raw)
            continue
        with suppress(Exception):  # then the careful decoder decides
            found_by_fast.append((fast(raw), found[-1].record))
    assert all(one == other for one, other in found_by_fast)
    return found


def given_blocks(format: Format, pieces: list[bytes], size: int) -> Iterator[SourceBlock]:
    """Blocks as a runner gets them, each with its records counted before the next is cut."""
    source = read(Pieces(pieces), from_=format.name).source
    assert isinstance(source, FileSource)
    run = new_run()
    try:
        yield from (given for given in source.blocks(run, size) if given.block.data)
    finally:
        run.over()


def placed(format: Format, pieces: list[bytes], size: int) -> list[tuple[Any, Place]]:
    """Each record with its place, which is the same when the bytes are no longer there."""
    found = []
    for given in given_blocks(format, pieces, size):
        batch = decoded(given)
        assert not batch.faults
        places, light = batch.places, batch.places.light()
        for index, record in zip(batch.indices, batch.records or [], strict=True):
            assert light.of(index) == places.of(index)
            found.append((record, places.of(index)))
    return found


def expected(sample: FormatSample, rows: list[Row], name: str) -> list[tuple[Any, Place]]:
    records = [row.record for row in rows if row.record is not NONE]
    places = [Place(at.number, name, at.line, at.offset) for at in sample.starts(rows)]
    return list(zip(records, places, strict=True))


# Reading


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ended", [True, False])
def test_records_and_places_are_the_same_wherever_the_input_is_cut(
    format: Format, sample: FormatSample, size: int, ended: bool
) -> None:
    data = sample.bytes_of(sample.good, ended=ended)
    wanted = expected(sample, sample.good, "<Pieces>")
    for at in range(len(data) + 1):
        assert placed(format, split(data, [at]), size) == wanted
    for width in (1, 2, 3, 7):
        assert placed(format, of_size(data, width), size) == wanted


@pytest.mark.parametrize("size", SIZES)
def test_raw_bytes_are_those_of_the_input_and_decode_to_their_record_again(
    format: Format, sample: FormatSample, size: int
) -> None:
    data = sample.bytes_of(sample.good)
    starts = iter(sample.starts(sample.good))
    found = []
    for block in blocks_of(format, [data], size):
        begins, offset = format.decoder(block.context).starts(block), block.position.offset
        assert data[offset:].startswith(block.data)
        rows = rows_of(format, block)
        for row, begin in zip(rows, begins, strict=True):
            assert data[offset + begin :].startswith(row.raw)
            assert next(starts).offset == offset + begin
        found += [row.record for row in rows]
    assert found == sample.records


def test_a_silent_input_hands_out_all_complete_records(
    format: Format, sample: FormatSample
) -> None:
    """An empty piece behind each byte: the records that have ended by then are out."""
    data = sample.bytes_of(sample.good)
    fed = 0

    def pieces() -> Any:
        nonlocal fed
        for byte in of_size(data, 1):
            fed += 1
            yield byte
            yield b""

    ends = [at.offset for at in sample.starts(sample.good)][1:]
    out = 0
    reader = format.reader(format.options(), Limits())
    for block in reader.cut(pieces()):
        out += len(rows_of(format, block)) if block.data else 0
        if not block.data and fed < len(data):
            assert out >= sum(1 for end in ends if end <= fed) - 1
    assert out == len(sample.records)


def test_a_second_reader_goes_on_where_a_block_begins(format: Format, sample: FormatSample) -> None:
    data = sample.bytes_of(sample.good)
    blocks = blocks_of(format, [data], 1)
    assert len(blocks) > 2
    for number, block in enumerate(blocks):
        position = pickle.loads(pickle.dumps(block.position))  # noqa: S301  (our own bytes)
        again = blocks_of(format, of_size(data[position.offset :], 3), 1, position)
        assert [one.data for one in again] == [one.data for one in blocks[number:]]
        assert [one.position.offset for one in again] == [
            one.position.offset for one in blocks[number:]
        ]
        assert all(one.context == block.context for one in again)


def test_the_count_of_valid_records_is_right_or_unknown(
    format: Format, sample: FormatSample
) -> None:
    rows = [row for row in sample.good if row.raw.strip()]
    for block in blocks_of(format, [sample.bytes_of(rows)]):
        assert format.decoder(block.context).count_valid(block) in (-1, len(rows))
    if sample.bad is not None:
        (block,) = blocks_of(format, [sample.bytes_of([*rows, sample.bad, *rows])])
        assert format.decoder(block.context).count_valid(block) == -1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reads", [True, False], ids=["decoded", "raw"])
def test_a_bad_record_has_its_place_and_takes_no_neighbour(
    format: Format, sample: FormatSample, size: int, reads: bool
) -> None:
    if sample.bad is None:
        pytest.skip("any bytes are a record")
    rows = [*sample.good, sample.bad, *sample.good]
    data = sample.bytes_of(rows)
    at = Row(sample.bad.raw, "bad")
    index = len(sample.records)
    place = sample.starts([*sample.good, at, *sample.good])[index]
    where = f"record {place.number} of <Pieces> (line {place.line}, byte {place.offset})"
    made = [steps.map(lambda record: record)] if reads else []
    for width in (1, 5, len(data)):
        given = Pipeline(read(Pieces(of_size(data, width)), from_=format.name), made, out := [])
        with pytest.raises(BadRecord) as caught:
            given.run()
        assert str(caught.value).startswith(where)
        assert caught.value.raw == sample.bad.raw
        source = read(Pieces(of_size(data, width)), from_=format.name)
        report = Pipeline(source, made, out, on_error="skip").run()
        assert out == sample.records * 2
        assert (report.skipped, report.balanced) == (1, True)
        assert report.errors[0].startswith(where)


@pytest.mark.parametrize("extra", [0, 1, 2_000])
def test_a_record_may_have_so_many_bytes_and_not_one_more(
    format: Format, sample: FormatSample, extra: int
) -> None:
    limit = 2_000
    first, last = Row(sample.sized(50), NONE), Row(sample.sized(60), NONE)
    long = Row(sample.sized(limit + extra), NONE)
    rows = [Row(row.raw, "kept") for row in (first, long, first, long, last)]
    data = sample.bytes_of(rows)
    starts = sample.starts(rows)
    for width in (1, 700, len(data)):
        source = read(Pieces(of_size(data, width)), from_=format.name, max_record=limit)
        report = Pipeline(source, sink=(out := []), on_error="skip").run()
        assert len(out) == (5 if not extra else 3)
        assert report.balanced
        for at, error in zip((starts[1], starts[3]), report.errors, strict=bool(extra)):
            where = f"record {at.number} of <Pieces> (line {at.line:,}, byte {at.offset:,})"
            assert error.startswith(f"{where}: longer than")


@pytest.mark.parametrize("size", [64, 1_000])
def test_blocks_are_about_as_large_as_was_asked_for(
    format: Format, sample: FormatSample, size: int
) -> None:
    data = sample.bytes_of(sample.good * 300)
    longest = max(len(row.raw) for row in sample.good) + len(sample.newline)
    for pieces in ([data], of_size(data, 10 * size)):
        blocks = blocks_of(format, pieces, size)
        sizes = [len(block.data) for block in blocks]
        assert max(sizes) <= size + longest
        between = len(data) - len(sample.header) - sum(sizes)
        # Where a tape says where records are, what separates two blocks is in none of them.
        assert between == 0 or (blocks[0].tape is not None and 0 < between < len(blocks) * longest)


def test_a_record_without_end_is_given_up_when_it_is_known_to_be_too_long(
    format: Format, sample: FormatSample
) -> None:
    """The rest of it is passed over: nothing of it is kept."""
    fed = 0

    def pieces() -> Iterator[bytes]:
        nonlocal fed
        yield sample.header
        for piece in of_size(sample.sized(1_000_000), 1_000):
            fed += len(piece)
            yield piece
        yield sample.newline
        yield sample.sized(20)

    reader = format.reader(format.options(), Limits(5_000, BLOCK))
    blocks = (block for block in reader.cut(pieces()) if block.data)
    long = next(blocks)
    assert long.oversize
    assert fed <= 7_000
    (last,) = blocks
    assert fed == 1_000_000
    assert last.position.offset == len(sample.header) + fed + len(sample.newline)
    assert [row.raw for row in rows_of(format, last)] == [sample.sized(20)]


def test_an_input_without_bytes_has_no_record(format: Format, sample: FormatSample) -> None:
    for data in (b"", sample.header):
        assert list(read(data, from_=format.name)) == []


# Writing


def written(format: Format, records: list[Any]) -> bytes:
    """What a writer makes of the records, by the contract alone."""
    writer = format.writer(format.options())
    context = writer.settle(records[: writer.sample.records] if writer.settles else (), None)
    begin = writer.begin()
    body = [*map(writer.encoder(context), records)]
    assert all(type(part) is bytes and part.endswith(writer.terminator) for part in body)
    return begin + writer.separator.join(body) + writer.end()


def test_what_is_written_is_read(format: Format, sample: FormatSample) -> None:
    data = written(format, sample.records)
    assert list(read(data, from_=format.name)) == sample.records
    out = bytearray()
    report = Pipeline(sample.records, sink=write(out, to=format.name)).run()
    assert out == data
    assert report.written == len(sample.records)


def test_an_output_without_records_is_read(format: Format) -> None:
    for data in (written(format, []), written_by_pipeline(format, [])):
        assert list(read(data, from_=format.name)) == []


def written_by_pipeline(format: Format, records: list[Any]) -> bytes:
    out = bytearray()
    Pipeline(records, sink=write(out, to=format.name)).run()
    return bytes(out)


def test_an_output_whose_records_were_all_filtered_is_read(
    format: Format, sample: FormatSample
) -> None:
    out = bytearray()
    source = read(sample.bytes_of(sample.good), from_=format.name)
    Pipeline(source, [steps.filter(lambda _: False)], write(out, to=format.name)).run()
    assert list(read(bytes(out), from_=format.name)) == []


def test_a_record_that_cannot_be_encoded_takes_no_neighbour(
    format: Format, sample: FormatSample
) -> None:
    for record in sample.unencodable:
        records = [*sample.records, record, *sample.records]
        out = bytearray()
        report = Pipeline(records, sink=write(out, to=format.name), on_error="skip").run()
        assert out == written(format, sample.records * 2)
        assert (report.skipped, report.balanced) == (1, True)
        with pytest.raises(BadRecord):
            Pipeline(records, sink=write(bytearray(), to=format.name)).run()


def test_the_first_record_may_be_the_one_that_cannot_be_encoded(
    format: Format, sample: FormatSample
) -> None:
    record = sample.unencodable[-1]
    out = bytearray()
    Pipeline([record, *sample.records], sink=write(out, to=format.name), on_error="skip").run()
    assert out == written(format, sample.records)


@pytest.mark.parametrize("made", ["nothing", "filter", "every", "map"])
def test_inputs_one_after_the_other_are_one_output(
    format: Format, sample: FormatSample, made: str
) -> None:
    """The last record of an input may have no newline; untouched records keep their bytes."""
    data = sample.bytes_of(sample.good, ended=False)
    step = {
        "nothing": [],
        "filter": [steps.filter(lambda record: True)],
        "every": [steps.skip(0)],
        "map": [steps.map(lambda record: record)],
    }[made]
    out = bytearray()
    source = read(data, data, from_=format.name)
    report = Pipeline(source, step, write(out, to=format.name)).run()
    assert list(read(bytes(out), from_=format.name)) == sample.records * 2
    assert report.balanced
    blocks = blocks_of(format, [data])
    writer = format.writer(format.options())
    if made == "map" or writer.settles:
        return  # a writer that settles has no context when the first input begins
    copy = format.copies_from(format, blocks[0].context, writer.settle((), None))
    if copy is not None:
        raws = [row.raw for block in blocks for row in rows_of(format, block)]
        copied = [raw if copy.record is None else copy.record(raw) for raw in raws]
        ended = [raw + writer.terminator for raw in copied * 2]
        assert out == writer.begin() + writer.separator.join(ended) + writer.end()


def test_raw_bytes_of_records_are_a_valid_output_where_the_format_says_so(
    format: Format, sample: FormatSample
) -> None:
    (block,) = blocks_of(format, [sample.bytes_of(sample.good)])
    writer = format.writer(format.options())
    context = writer.settle(
        sample.records[:1] if writer.settles else (), format.columns(block.context)
    )
    assert format.copies_from(format, block.context, context)
    raws = [row.raw + writer.terminator for row in rows_of(format, block)]
    data = writer.begin() + writer.separator.join(raws) + writer.end()
    assert list(read(data, from_=format.name)) == sample.records


# Options


def test_options_that_a_format_has_not_are_an_error_of_the_plan(format: Format) -> None:
    for call in (read, write):
        with pytest.raises(PlanError, match=rf"format {format.name} has .*, not colour"):
            call(bytearray(), **{KEYWORD[call]: format.name}, format_options={"colour": "red"})


KEYWORD: dict[Any, str] = {read: "from_", write: "to"}


def test_options_of_another_format_are_an_error_of_the_plan(format: Format) -> None:
    class Others(Options):
        """Nobody's."""

    with pytest.raises(PlanError, match="Others"):
        format.check_options(Others())


def test_values_that_an_option_cannot_have_are_an_error_of_the_plan(
    format: Format, sample: FormatSample
) -> None:
    assert bool(sample.options) == bool(sample.bad_options)
    for bad in sample.bad_options:
        with pytest.raises(PlanError):
            read(b"", from_=format.name, format_options=bad)


def test_options_are_for_inputs_of_one_format(format: Format, sample: FormatSample) -> None:
    suffix = (*format.suffixes, "jsonl")[0]
    other = "x.log" if format.name != "lines" else "x.jsonl"
    for options in sample.options:
        read(f"x.{suffix}", f"y.{suffix}", format_options=options)
        with pytest.raises(PlanError, match=type(format.options_of(options)).__name__):
            read(f"x.{suffix}", other, format_options=options)


def test_options_hold_for_reading_and_writing(format: Format, sample: FormatSample) -> None:
    assert bool(sample.options) == (format.options is not Options), "samples of its options"
    for options in sample.options:
        out = bytearray()
        target = write(out, to=format.name, format_options=options)
        Pipeline(sample.records, sink=target).run()
        assert out != written(format, sample.records)
        assert list(read(out, from_=format.name, format_options=options)) == sample.records
        made = format.options_of(options)
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301
        copied = bytearray()
        source = read(bytes(out), from_=format.name, format_options=options)
        Pipeline(source, sink=write(copied, to=format.name)).run()
        assert copied == written(format, sample.records)


# Threads and processes


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_the_same_output(format: Format, sample: FormatSample, workers: int) -> None:
    rows = [*sample.good, *([sample.bad] if sample.bad else []), *sample.good] * 20
    data = sample.bytes_of(rows)
    outputs = []
    for options in ({}, {"workers": workers}):
        out = bytearray()
        step = steps.map(same, **options)
        source = read(Pieces(of_size(data, 100)), from_=format.name)
        report = Pipeline(source, [step], write(out, to=format.name), on_error="skip").run()
        assert report.balanced
        outputs.append((out, report.read, report.skipped, report.errors))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == written(format, sample.records * 40)


def same(record: Any) -> Any:
    return record


def long(record: Any) -> bool:
    return len(repr(record)) > 8


def task() -> BlockTask:
    """A task that calls two functions of this module."""
    made, rest = fuse(tuple(flatten_steps([steps.filter(long), steps.map(same)])))
    assert not rest
    return made


def work_of(format: Format, sample: FormatSample) -> in_process.Work:
    """Blocks of good and bad records, and what is to become of them."""
    rows = [*sample.good, *([sample.bad] if sample.bad else []), *sample.good]
    data = sample.bytes_of(rows)
    blocks = []
    for given in given_blocks(format, [data], 20):
        blocks.append((given.block, given.first))
        decoded(given)  # counts its records
    writer = format.writer(format.options())
    context = writer.settle(sample.records[:1] if writer.settles else (), None)
    return in_process.Work(format, blocks, task(), writer.encoder(context))


def test_contexts_decoders_and_encoders_survive_pickle(
    format: Format, sample: FormatSample
) -> None:
    work = work_of(format, sample)
    again = pickle.loads(pickle.dumps(work))  # noqa: S301
    assert again.format is format
    assert repr(again.task) == repr(work.task)
    for (block, first), (other, second) in zip(work.blocks, again.blocks, strict=True):
        assert (block.data, block.position, block.context, first) == (
            (other.data, other.position, other.context, second)
        )
        decoder = pickle.loads(pickle.dumps(format.decoder(block.context)))  # noqa: S301
        same = format.decoder(block.context)
        assert list(decoder.rows(block).raws) == list(same.rows(block).raws)
    assert [again.encode(record) for record in sample.records] == [
        work.encode(record) for record in sample.records
    ]


@pytest.mark.keeps_descriptors  # of the process that multiprocessing keeps beside spawned ones
def test_a_process_that_gets_all_by_pickle_does_the_same(
    format: Format, sample: FormatSample
) -> None:
    work = work_of(format, sample)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(in_process.done, work).result()
    here = in_process.done(work)
    assert there.process != os.getpid()
    assert (there.records, there.places) == (here.records, here.places)
    assert there.records == sample.records * 2
    assert there.encoded == here.encoded
    assert told(there.counts) == told(here.counts)
    assert told(there.counts)["steps"][0]["records_in"] == len(sample.records) * 2


def told(counts: Counts) -> dict[str, Any]:
    return report_of(counts, 0, []).to_dict()


def test_a_batch_is_validated_without_decoding(format: Format, sample: FormatSample) -> None:
    data = sample.bytes_of(sample.good)
    for given in given_blocks(format, [data], BLOCK):
        batch = validated(given)
        assert batch.records is None
        assert (len(batch), batch.faults) == (len(sample.records), [])
        for index in batch.indices:
            raw = batch.raw_of(index)
            assert raw is not None
            assert given.origin.decoder.decode(raw) == sample.records[index]
