"""The loop of a block task: compiled if the installation had a compiler, else plain Python."""

from __future__ import annotations

from paipa_etl.runners._fill_python import Piece, RecordFunctions

try:
    from paipa_etl.runners._fill import PieceBuilder, fill
except ImportError:
    from paipa_etl.runners._fill_python import PieceBuilder, fill

__all__ = ["Piece", "PieceBuilder", "RecordFunctions", "fill"]
