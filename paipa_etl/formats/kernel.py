"""The kernel of JSON: compiled where the installation had a compiler, plain Python elsewhere."""

from __future__ import annotations

try:
    from paipa_etl.formats._scan import count_valid, has_long_number, holds_nan
except ImportError:
    from paipa_etl.formats._scan_python import count_valid, has_long_number, holds_nan

__all__ = ["count_valid", "has_long_number", "holds_nan"]
