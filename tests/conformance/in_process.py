"""What a process does that was started afresh, and gets everything by pickle."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, NamedTuple

from paipa_etl.failures import Place
from paipa_etl.formats import Encode, Format
from paipa_etl.optimizer.fuse import BlockTask
from paipa_etl.records.batch import decoded
from paipa_etl.records.blocks import Block
from paipa_etl.records.places import Origin, SourceBlock
from paipa_etl.run import new_run
from paipa_etl.run.report import Counts
from paipa_etl.runners.block_task import BoundTask


class Work(NamedTuple):
    """A format, blocks with the numbers of their first records, a task, and an encoder."""

    format: Format
    blocks: list[tuple[Block, int]]
    task: BlockTask
    encode: Encode


class Done(NamedTuple):
    """What became of it: decoded records, their places, the task's records encoded, counts."""

    records: list[Any]
    places: list[Place]
    encoded: bytes
    counts: Counts
    process: int


def done(work: Work) -> Done:
    """Decode the blocks, and carry the task out on them."""
    batches = [decoded(given) for given in given_of(work)]
    run = new_run("skip")
    with ExitStack() as stack:
        stack.callback(run.over)
        task = BoundTask(work.task, run, stack)
        encoded = b"".join(map(work.encode, task.records(iter(given_of(work)))))
    return Done(
        [record for batch in batches for record in batch.records or ()],
        [batch.places.of(index) for batch in batches for index in batch.indices],
        encoded,
        run.counts,
        os.getpid(),
    )


def given_of(work: Work) -> list[SourceBlock]:
    """The blocks as a source hands them out."""
    return [
        SourceBlock(block, Origin("sample", work.format.decoder(block.context)), first)
        for block, first in work.blocks
    ]
