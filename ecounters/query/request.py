"""The body of a request for counters -> a Query.

Nothing in this file knows accounts: ``streams.access`` checks whether the sender may see the counters. The functions
raise RequestRefused for what they cannot read, with the documented code and a detail that begins with the path of the
error, as "filter[1].op ...".
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ecounters.counters.definitions import FIELDS
from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, NO_USER, RequestRefused
from ecounters.query.conditions import CONDITIONS_MAX, Where, read_filter
from ecounters.query.dates import DateCondition
from ecounters.text import shown
from ecounters.windows.steps import INTERVALS

BODY_BYTES_MAX: Final = 65_536
"""The longest body of a request in bytes. A filter with as many values as it may have, of 16 characters each, takes
less than a third of this."""
FIELDS_MAX: Final = 1_000
"""The most entries of ``Field``, repeated ones counted. There are far fewer different fields."""
CREDENTIAL_MAX: Final = 512
"""The longest ssid, userId or token in characters. ``streams.access`` makes no longer ones."""

PARAMETERS: Final = ("ssid", "userId", "token", "filter", "Field", "fields")
"""The names that a body may have. A request for a series may have ``interval`` too."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for and with which credentials, read but not authorized.

    ssid, user_id, token  the credentials of the request; None if missing or ""
    filter                the filter as JSON text, "" for none: equal texts are equal filters, so caches use it in keys
    dates                 the filter's conditions on the date
    where                 the filter's other conditions; None: every call counts
    fields                counters to add to the payload, in this order, without repeats
    interval              a key of INTERVALS for a series, else None
    """

    ssid: str | None = None
    user_id: str | None = None
    token: str | None = None
    filter: str = ""
    dates: tuple[DateCondition, ...] = ()
    where: Where | None = None
    fields: tuple[str, ...] = ()
    interval: str | None = None

    def forwarded(self) -> dict[str, Any]:
        """The query as JSON parameters, without credentials. Another worker reads them by ``parse_forwarded``."""
        parameters: dict[str, Any] = {"Field": list(self.fields)}
        if self.filter:
            parameters["filter"] = msgspec.json.decode(self.filter)
        if self.interval is not None:
            parameters["interval"] = self.interval
        return parameters


def parse_request(content: bytes, *, series: bool = False) -> Query:
    """The query in a body of JSON. ``series``: require ``interval``. Raises RequestRefused."""
    return read_request(parse_object(content), series=series)


def parse_forwarded(parameters: dict[str, Any]) -> Query:
    """The query, without credentials, from the parameters that ``forwarded`` returned. Raises RequestRefused."""
    return _query(parameters, {}, series="interval" in parameters)


def read_request(parameters: dict[str, Any], *, series: bool = False) -> Query:
    """The query in parameters that ``parse_object`` or another decoder has decoded.

    ``series``: require ``interval``, which is an unknown parameter otherwise. Raises RequestRefused: 1000 for an
    unknown parameter or a wrong value, 1001 for a wrong JSON type, 1002 if there is neither an ssid nor a userId.
    """
    for name in parameters:
        if name not in PARAMETERS and not (series and name == "interval"):
            raise RequestRefused(INVALID_PARAMETER, f"unknown parameter {shown(name)}")
    credentials = {name: _credential(parameters, name) for name in ("ssid", "userId", "token")}
    if not credentials["ssid"] and not credentials["userId"]:
        raise RequestRefused(NO_USER, "give ssid, or userId and token")
    return _query(parameters, credentials, series=series)


def _query(parameters: dict[str, Any], credentials: dict[str, str], *, series: bool) -> Query:
    conditions = _list(parameters, "filter", CONDITIONS_MAX)
    dates, where = read_filter(conditions)
    return Query(
        ssid=credentials.get("ssid") or None,
        user_id=credentials.get("userId") or None,
        token=credentials.get("token") or None,
        filter=msgspec.json.encode(conditions).decode() if conditions else "",
        dates=dates,
        where=where,
        fields=_fields(parameters),
        interval=_interval(parameters) if series else None,
    )


# ---------------------------------------------------------------------------------------------------- JSON


def parse_object(content: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises RequestRefused (1000; HTTP 413 for more than BODY_BYTES_MAX bytes).

    Stricter than JSON: a name that stands twice in one object, at any depth, is refused.
    """
    if len(content) > BODY_BYTES_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"the body has more than {BODY_BYTES_MAX} bytes", http_status=413)
    if not content.strip():
        raise RequestRefused(INVALID_PARAMETER, "the body is empty; a JSON object is expected")
    value = decode_json(content)
    if type(value) is not dict:
        raise RequestRefused(INVALID_PARAMETER, "the body is not a JSON object")
    return value


def decode_json(content: bytes, source: str = "the body") -> Any:
    """The value of a JSON text. Raises RequestRefused (1000) if it is not JSON, or has a name twice in one object.

    ``source``: what the messages call the text. Numbers too large for a float, and halves of surrogate pairs, are no
    JSON here. msgspec would not do: it takes the last of equal names, and 60 ms for 64 KiB of floats near 1e-308.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise RequestRefused(INVALID_PARAMETER, f"{source} has {shown(name)} twice in one object")
        return names

    try:
        text = content.decode()
        value = json.loads(text, object_pairs_hook=unique, parse_float=_finite, parse_constant=_finite)
        if "\\u" in text:
            msgspec.json.encode(value)  # refuses halves of surrogate pairs
    except (ValueError, RecursionError):
        raise RequestRefused(INVALID_PARAMETER, f"{source} is not JSON") from None
    return value


def _finite(text: str) -> float:
    """The float of a JSON number. Raises ValueError for NaN and infinities, and numbers too large for a float."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


# ---------------------------------------------------------------------------------------------- parameters


def _credential(parameters: dict[str, Any], name: str) -> str:
    """The value of ssid, userId or token; "" if the parameter is missing. Raises RequestRefused."""
    value = parameters.get(name, "")
    if type(value) is not str:
        raise RequestRefused(INVALID_TYPE, f"{name} must be a string")
    if len(value) > CREDENTIAL_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{name} is longer than any that was given out")
    return value


def _list(parameters: dict[str, Any], name: str, length_max: int) -> list[Any]:
    """The array of a parameter, of at most ``length_max`` entries; [] if it is missing. Raises RequestRefused."""
    value = parameters.get(name, [])
    if type(value) is not list:
        raise RequestRefused(INVALID_TYPE, f"{name} must be an array")
    if len(value) > length_max:
        raise RequestRefused(INVALID_PARAMETER, f"{name} has more than {length_max} entries")
    return value


def _fields(parameters: dict[str, Any]) -> tuple[str, ...]:
    """The counters of ``Field`` or ``fields``, without repeats, in the request's order. Raises RequestRefused."""
    if "Field" in parameters and "fields" in parameters:
        raise RequestRefused(INVALID_PARAMETER, "Field and fields are the same parameter: give one of them")
    name = "fields" if "fields" in parameters else "Field"
    fields = _list(parameters, name, FIELDS_MAX)
    for index, field in enumerate(fields):
        if type(field) is not str:
            raise RequestRefused(INVALID_TYPE, f"{name}[{index}] must be a string")
        if field not in FIELDS:
            raise RequestRefused(INVALID_PARAMETER, f"{name}[{index}] {shown(field)} is no field that can be asked for")
    return tuple(dict.fromkeys(fields))


def _interval(parameters: dict[str, Any]) -> str:
    """The interval of a series, a key of INTERVALS. Raises RequestRefused if it is missing or wrong."""
    known = ", ".join(INTERVALS)
    if "interval" not in parameters:
        raise RequestRefused(INVALID_PARAMETER, f"interval is missing: one of {known}")
    interval = parameters["interval"]
    if type(interval) is not str:
        raise RequestRefused(INVALID_TYPE, "interval must be a string")
    if interval not in INTERVALS:
        raise RequestRefused(INVALID_PARAMETER, f"interval {shown(interval)} is none of {known}")
    return interval
