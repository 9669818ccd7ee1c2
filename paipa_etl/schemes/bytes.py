"""Bytes in memory: ``bytes`` to read, a ``bytearray`` to write."""

from paipa_etl.schemes import BYTES, Scheme

SCHEME = Scheme(
    (BYTES,),
    source="paipa_etl.sources.objects:BYTES_IN_MEMORY",
    sink="paipa_etl.sinks.objects:BYTES_IN_MEMORY",
    is_url=False,
    lists=False,
)
