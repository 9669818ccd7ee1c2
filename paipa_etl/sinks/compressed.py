"""Compressed: a target behind a codec's compressor, charged to the codec and to the store."""

from __future__ import annotations

from paipa_etl.codecs.members import Compressor
from paipa_etl.metrics.observer import CODEC, SINK, STORE
from paipa_etl.run import Run
from paipa_etl.sinks import Target


class Encoded:
    """A target behind a codec: what a background thread may do for a run."""

    def __init__(self, target: Target, compressor: Compressor | None, run: Run) -> None:
        self._target, self._compressor, self._run = target, compressor, run

    def write(self, data: bytes | bytearray) -> None:
        """Compress and write."""
        with self._run.observer.section(SINK, CODEC):
            self._out(self._compressor.compress(data) if self._compressor else data)

    def pause(self) -> None:
        """Write what the codec holds back."""
        if self._compressor:
            self._out(self._compressor.pause())

    def finish(self) -> None:
        """Write the codec's end."""
        if self._compressor:
            with self._run.observer.section(SINK, CODEC):
                self._out(self._compressor.finish())

    def _out(self, data: bytes | bytearray) -> None:
        if data:
            with self._run.observer.section(SINK, STORE):
                self._target.write(data)
            self._run.counts.bytes_out += len(data)
