"""A URL's query string -> Query. The values are checked by the same rules as those in the body of a POST."""

from __future__ import annotations

from typing import Any, Final

import orjson
from multidict import MultiMapping

from ecounters.errors import INVALID_PARAMETER, RequestRefused
from ecounters.query.request import Query, decode_json, read_request

PARAMETERS: Final = ("ssid", "filter", "Field", "fields")
"""The names that a query string may have. ``Field`` and ``fields`` mean the same, as in a POST's body."""
SECRET_PARAMETERS: Final = ("userId", "token")
"""Names that are refused in a URL, because browsers, proxies and logs show URLs to others."""


def parse_query(parameters: MultiMapping[str], cookie: str | None) -> Query:
    """The query in a URL's parameters. Raises RequestRefused for anything that is wrong with them.

    ``ssid`` and ``filter`` (as JSON text) may stand there once. ``Field`` and ``fields`` may be repeated, also both at
    once (unlike in a POST), each with one or more names, separated by commas. ``cookie``: the ssid in the dashboard's
    cookie, used if there is no ``ssid``.
    """
    names = [name for name, _ in parameters.items()]  # keys() has each name only once
    for name in names:
        if name in SECRET_PARAMETERS:
            raise RequestRefused(
                INVALID_PARAMETER, f"{name} is not taken in a URL, which others get to see: open a session"
            )
        if name not in PARAMETERS:
            raise RequestRefused(INVALID_PARAMETER, f"unknown parameter {orjson.dumps(name[:60]).decode()}")
        if name in ("ssid", "filter") and names.count(name) > 1:
            raise RequestRefused(INVALID_PARAMETER, f"{name} is given more than once")
    # A cookie can hold bytes that are no text. They become "?", which makes a wrong ssid and no internal error.
    ssid = (parameters.get("ssid") or cookie or "").encode(errors="replace").decode()
    decoded: dict[str, Any] = {"ssid": ssid}
    if "filter" in parameters:
        decoded["filter"] = decode_json(parameters["filter"].encode(errors="replace"), "filter")
    fields = parameters.getall("Field", []) + parameters.getall("fields", [])
    if fields:
        decoded["Field"] = [name for value in fields for name in value.split(",")]
    return read_request(decoded)
