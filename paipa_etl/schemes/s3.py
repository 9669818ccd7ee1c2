"""Amazon S3, and what speaks its language."""

from paipa_etl.schemes import Scheme

SCHEME = Scheme(
    ("s3",),
    engine="paipa_etl.stores.s3_fast:FastS3Object",
    is_literal=True,
    slash_is_folder=True,
    key_is_missing="a key is missing: s3://bucket/key",
    extra="s3",
    loggers=("boto3", "botocore", "s3transfer", "urllib3", "requests", "smart_open"),
)
