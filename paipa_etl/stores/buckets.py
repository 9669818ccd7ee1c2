"""Locations of the bucket stores: a bucket and a key, which is taken literally."""

from __future__ import annotations

from paipa_etl.errors import PlanError
from paipa_etl.location import Location
from paipa_etl.schemes import row_of


def bucket_and_key(location: Location) -> tuple[str, str]:
    """The two halves of a URL; a key is anything behind the bucket's slash, and not quoted."""
    rest = location.target.split("://", 1)[1]
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise PlanError(f"{location}: a bucket is missing: {location.scheme}://bucket/key")
    if "@" in bucket:
        problem = "credentials do not belong in a location; they come from the environment"
        raise PlanError(f"{location}: {problem}")
    return bucket, key


def check_not_folder(location: Location, *, output: bool) -> None:
    """Refuse a name that ends in a slash: a store may have an object of that name, as a folder.

    As an input such an object is empty; as an output no wildcard would find it.
    """
    row = row_of(location.scheme)
    if not row.slash_is_folder or not location.target.endswith("/"):
        return
    if row.key_is_missing and not key_of(location.target):
        return  # a bucket alone: the store says what is missing
    remedy = "data.jsonl" if output else "*"
    end = "the output is one object" if output else "a wildcard stands for the objects under it"
    problem = f"a name that ends in / is a folder; {end}: {location}{remedy}"
    raise PlanError(f"{location}: {problem}")


def url_of(scheme: str, bucket: str, key: str) -> Location:
    """The location of a key of a bucket."""
    return Location(scheme, f"{scheme}://{bucket}/{key}")


def key_of(prefix: str) -> str:
    """The key of a URL that may be cut anywhere behind its scheme."""
    return prefix.split("://", 1)[1].partition("/")[2]
