"""The kernel of JSON texts: compiled where the installation had a compiler, else plain Python."""

from __future__ import annotations

try:
    from paipa_etl.formats.kernels._scan import (
        LineEncoder,
        Lines,
        count_valid,
        count_valid_values,
        holds_nan,
        needs_care,
    )
except ImportError:
    from paipa_etl.formats.kernels._scan_python import (
        LineEncoder,
        Lines,
        count_valid,
        count_valid_values,
        holds_nan,
        needs_care,
    )

__all__ = [
    "LineEncoder",
    "Lines",
    "count_valid",
    "count_valid_values",
    "holds_nan",
    "needs_care",
]
