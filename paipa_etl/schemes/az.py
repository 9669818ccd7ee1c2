"""Azure Blob Storage."""

from paipa_etl.schemes import Scheme

SCHEME = Scheme(
    ("az",),
    engine="paipa_etl.stores.azure:AzureObject",
    is_literal=True,
    slash_is_folder=True,
    key_is_missing="a blob is missing: az://container/blob",
    extra="azure",
    smart_open="azure",
    loggers=("azure", "msal", "requests", "urllib3", "smart_open"),
)
