"""File systems of fsspec: ``memory://``, and every scheme that is allowed by name."""

from paipa_etl.schemes import ALLOWED, Scheme

SCHEME = Scheme(
    (ALLOWED,),
    sink="paipa_etl.sinks.protocols:STORE",
    engine="paipa_etl.stores.protocols:ProtocolFile",
    is_literal=True,
    loggers=("fsspec", "s3fs", "gcsfs", "adlfs", "aiohttp", "aiobotocore", "httpx", "requests"),
)
