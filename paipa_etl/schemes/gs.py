"""Google Cloud Storage."""

from paipa_etl.schemes import Scheme

SCHEME = Scheme(
    ("gs",),
    engine="paipa_etl.stores.gcs:GcsObject",
    is_literal=True,
    slash_is_folder=True,
    key_is_missing="a name is missing: gs://bucket/name",
    extra="gcs",
    smart_words="paipa_etl.stores.gcs_client:smart_words",
    loggers=("google", "requests", "urllib3", "smart_open"),
)
