"""Azure Blob Storage by the URLs of Hadoop's driver."""

from dataclasses import replace

from paipa_etl.schemes import az

SCHEME = replace(
    az.SCHEME,
    names=("abfs",),
    key_is_missing="a blob is missing: abfs://container@account…/blob",
    smart_open="",
)
