"""The client of S3: made of what is set, where the user gives none; what its failures mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from paipa_etl.errors import MissingDependency, PlanError
from paipa_etl.run.clients import Clients
from paipa_etl.stores import CONNECT_TIMEOUT, StoreOptions, check_endpoint
from paipa_etl.stores.failures import AGAIN, ELSEWHERE, answered, transport
from paipa_etl.stores.port import StoreFailure
from paipa_etl.stores.secrets import guard, guard_proxies

CONNECTIONS = 128  # that a client keeps open: as many as transfers may run at once
CODES = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}
CODES |= {"ThrottlingException", "RequestTimeTooSkewed", "ConditionalRequestConflict"}
LACKING = "the answer lacks what S3 tells: it was cut, or is not one of S3's"
T = TypeVar("T")


def told(action: Callable[[], T], timeout: float) -> T:
    """What a call to the library gives; its failure as a store's, without its own text."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        return action()
    except ClientError as error:
        answer = error.response
        code = answer.get("Error", {}).get("Code", "")
        message = answer.get("Error", {}).get("Message") or ""
        meta = answer.get("ResponseMetadata", {})
        status, headers = meta.get("HTTPStatusCode", 0), meta.get("HTTPHeaders", {})
        failure = refused(status, code, message, headers)
        if status == 500 and code.isdigit():  # so boto3 tells what is not XML, too
            failure.kind = "strange"
    except RecursionError:
        failure = StoreFailure(ELSEWHERE)
    except (KeyError, ResponseParserError):
        failure = StoreFailure(LACKING, retryable=True, kind="strange")
    except (OSError, BotoCoreError, HTTPError, EOFError, ValueError) as error:
        failure = transport(error, timeout) or _unsent(error)
        if _is_endless(error):
            failure = StoreFailure(ELSEWHERE)
    raise failure


def _is_endless(error: BaseException | None) -> bool:
    """Whether a ``RecursionError`` is behind an error of the library.

    A redirected request makes boto3 request the region of the bucket. If that request is
    redirected too, boto3 requests the region again, until Python's recursion limit. Where boto3
    reaches the limit depends on the version of Python: it wraps most exceptions of a connection.
    """
    while error is not None and not isinstance(error, RecursionError):
        error = error.__cause__ or error.__context__
    return error is not None


def refused(status: int, code: str, message: str, headers: Mapping[str, str]) -> StoreFailure:
    """What an answer of S3's means that is an error; some codes may pass, whatever their status."""
    busy = code in CODES and status not in AGAIN
    named = "" if code.isdigit() else code
    failure = answered(503 if busy else status, named, message, headers)
    failure.status = status or None
    return failure


def _unsent(error: Exception) -> StoreFailure:
    """A request that the library did not send: no credentials, or a name that cannot be."""
    kind = type(error).__name__
    if "Credential" in kind or "Token" in kind or "Profile" in kind or "SSO" in kind:
        problem = f"no credentials that can be used ({kind}): set AWS_ACCESS_KEY_ID and its secret"
        return StoreFailure(f"{problem}, or AWS_PROFILE", kind="denied")
    return StoreFailure(f"the request could not be made ({kind})")


def shared(options: StoreOptions, clients: Clients) -> Any:
    """The run's client for these options."""
    words = dict(options.word("client_kwargs", {}))
    if options.endpoint_url:
        words.setdefault("endpoint_url", options.endpoint_url)
    if options.insecure:
        words.setdefault("verify", False)
    key = ("s3", options.timeout, *sorted((name, str(value)) for name, value in words.items()))
    return clients.get(key, lambda: _client(words, options.timeout), lambda client: client.close())


def _client(words: dict[str, Any], timeout: float) -> Any:
    guard(words)
    guard_proxies()
    try:
        from botocore.config import Config
        from botocore.handlers import add_expect_header
        from botocore.session import get_session  # boto3's is one around it, and 4 MB more
    except ImportError as error:
        raise MissingDependency("s3://", "s3") from error
    # Attempts are made by us, a range at a time; MD5 is what every server of the protocol knows.
    config = Config(
        connect_timeout=min(CONNECT_TIMEOUT, timeout),
        read_timeout=timeout,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    given = words.pop("config", None)
    try:
        merged = config.merge(given) if given else config
        client = get_session().create_client("s3", config=merged, **words)
        # Else it waited before each part for a server's leave, and a second where none came.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        # The client's own: to ask the session would look elsewhere for what was given, too.
        found = client._request_signer._credentials
        guard(*((found.secret_key, found.token) if found else ()))
    except Exception as error:
        client, problem = None, f"a client for S3 cannot be made: {type(error).__name__}"
        endpoint = str(error).partition("Invalid endpoint: ")[2]
    else:
        endpoint = client.meta.endpoint_url
    if endpoint:  # wherever it was set
        check_endpoint(endpoint)
    if client is None:
        raise PlanError(f"{problem}; see endpoint, region, profile and client_kwargs")
    return client
