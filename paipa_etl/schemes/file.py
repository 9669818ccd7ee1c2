"""Paths of the local file system: files, FIFOs, devices, names of descriptors."""

from paipa_etl.schemes import LOCAL, Scheme

SCHEME = Scheme(
    (LOCAL,),
    source="paipa_etl.sources.local:STORE",
    sink="paipa_etl.sinks.local:STORE",
    on_this_machine=True,
    is_literal=True,
)
