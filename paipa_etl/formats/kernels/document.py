"""The kernel of JSON documents, compiled or plain Python; loaded only for a document."""

from __future__ import annotations

from paipa_etl.formats.kernels._document_python import BrokenDocument

try:
    from paipa_etl.formats.kernels._document import (
        Scanner,
        compact,
        lines_of_values,
        values_of,
    )
except ImportError:
    from paipa_etl.formats.kernels._document_python import (  # type: ignore[assignment]
        Scanner,
        compact,
        lines_of_values,
        values_of,
    )

__all__ = ["BrokenDocument", "Scanner", "compact", "lines_of_values", "values_of"]
