"""``-``: standard input and standard output."""

from paipa_etl.schemes import STANDARD, Scheme

SCHEME = Scheme(
    (STANDARD,),
    source="paipa_etl.sources.standard:STORE",
    sink="paipa_etl.sinks.standard:STORE",
    is_url=False,
    on_this_machine=True,
    lists=False,
)
