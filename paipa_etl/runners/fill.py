"""The loop of a block task: compiled where the installation had a compiler, else plain Python."""

from __future__ import annotations

from paipa_etl.runners._fill_python import Loop, Piece

try:
    from paipa_etl.runners._fill import Filling, fill
except ImportError:
    from paipa_etl.runners._fill_python import Filling, fill

__all__ = ["Filling", "Loop", "Piece", "fill"]
