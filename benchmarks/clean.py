"""The step of the `--map` job: what a user does to every record, in plain Python."""

from typing import Any


def clean(record: dict[str, Any]) -> dict[str, Any]:
    """Drop a key, derive two fields, and write the e-mail address in lower case."""
    request = record.pop("request")
    record["network"] = request["ip"].rpartition(".")[0]
    record["day"] = record["at"][:10]
    user = record["user"]
    if user and user["email"]:
        user["email"] = user["email"].lower()
    return record
