"""HTTP and HTTPS: reading, and PUT where the user asks for it."""

from paipa_etl.schemes import Scheme

SCHEME = Scheme(
    ("http", "https"),
    engine="paipa_etl.stores.http:HttpObject",
    has_host=True,
    lists=False,
    smart_words="paipa_etl.stores.http_connections:smart_words",
    loggers=("urllib3", "requests", "httpx", "smart_open"),
)
