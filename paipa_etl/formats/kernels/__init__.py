"""The kernel of JSON: compiled where the installation had a compiler, plain Python elsewhere."""

from __future__ import annotations

try:
    from paipa_etl.formats.kernels._scan import (
        LineEncoder,
        Lines,
        count_valid,
        holds_nan,
        needs_care,
    )
except ImportError:
    from paipa_etl.formats.kernels._scan_python import (
        LineEncoder,
        Lines,
        count_valid,
        holds_nan,
        needs_care,
    )

__all__ = ["LineEncoder", "Lines", "count_valid", "holds_nan", "needs_care"]
