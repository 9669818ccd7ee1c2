"""The file objects of the caller."""

from paipa_etl.schemes import OBJECT, Scheme

SCHEME = Scheme(
    (OBJECT,),
    source="paipa_etl.sources.objects:FILES",
    sink="paipa_etl.sinks.objects:FILES",
    is_url=False,
    on_this_machine=True,
    lists=False,
)
