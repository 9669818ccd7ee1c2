"""The meter: compiled where the installation had a compiler, plain Python elsewhere."""

from __future__ import annotations

try:
    from paipa_etl.metrics._meter import (
        Account,
        Probe,
        Strand,
        Tally,
        bucket_of,
        peek,
        peek_open,
        probed_call,
    )
except ImportError:
    from paipa_etl.metrics._meter_python import (
        Account,
        Probe,
        Strand,
        Tally,
        bucket_of,
        peek,
        peek_open,
        probed_call,
    )

__all__ = ["Account", "Probe", "Strand", "Tally", "bucket_of", "peek", "peek_open", "probed_call"]
