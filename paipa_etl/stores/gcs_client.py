"""The client of GCS: made of what is set, where the user gives none; what its failures mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from paipa_etl.errors import MissingDependency, PlanError
from paipa_etl.location import Location
from paipa_etl.run.clients import Clients
from paipa_etl.stores import StoreOptions
from paipa_etl.stores.failures import ELSEWHERE, transport
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.secrets import guard

T = TypeVar("T")


def told(action: Callable[[], T], timeout: float) -> T:
    """What a call to the library gives; its failure as a store's, without its own text."""
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests.exceptions import TooManyRedirects
    from urllib3.exceptions import HTTPError

    try:
        return action()
    except TransportError as error:
        failure = transport(error, timeout) or StoreFailure("no way to the tokens", retryable=True)
    except GoogleAuthError as error:
        failure = StoreFailure(f"no credentials that can be used ({type(error).__name__})")
    except TooManyRedirects:
        failure = StoreFailure(ELSEWHERE)
    except (OSError, HTTPError, ValueError) as error:  # those of requests are of OSError
        failure = transport(error, timeout) or StoreFailure(type(error).__name__)
    raise failure


def shared(options: StoreOptions, clients: Clients) -> Any:
    """The run's client for these options."""
    key = ("gs", options.endpoint_url, options.insecure)
    return clients.get(key, lambda: _client(options), lambda client: client.close())


def smart_words(
    location: Location, options: StoreOptions, clients: Clients, given: dict[str, Any]
) -> dict[str, Any]:
    """The words of smart_open with the run's client, where the user gives none."""
    return given if "client" in given else {**given, "client": shared(options, clients)}


def _client(options: StoreOptions) -> Any:
    try:
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage
    except ImportError as error:
        raise MissingDependency("gs://", "gcs") from error
    from paipa_etl.stores.sessions import mount

    words: dict[str, Any] = {}
    if options.endpoint_url:
        words["client_options"] = {"api_endpoint": options.endpoint_url}
    try:
        client = storage.Client(**words)
    except (DefaultCredentialsError, OSError):
        # Public objects need none; of others, the store says that access is denied.
        nobody: Any = AnonymousCredentials  # it has no types of its own
        client = storage.Client(project="none", credentials=nobody(), **words)
    except Exception as error:
        client, problem = None, f"a client for gs:// cannot be made: {type(error).__name__}"
    if client is None:
        raise PlanError(problem)
    guard()
    mount(client._http)
    client._http.verify = not options.insecure
    for session in (client._http, client._http._auth_request.session):
        session.max_redirects = 0  # neither the store nor who gives tokens leads elsewhere
    return client
