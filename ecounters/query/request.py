"""What a request asks for: its bytes -> Query.

Everything that is wrong is a Refused with the documented code, whose text names the place (``filter[1].op``).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from ecounters.counters.definitions import FIELDS
from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, NO_USER, RequestRefused
from ecounters.query.conditions import CONDITIONS_MAX, Where, read_filter
from ecounters.query.dates import DateCondition
from ecounters.text import shown
from ecounters.windows.steps import INTERVALS

BODY_BYTES_MAX: Final = 65_536
FIELDS_MAX: Final = 1_000
CREDENTIAL_MAX: Final = 512

PARAMETERS: Final = ("ssid", "userId", "token", "filter", "Field", "fields")


@dataclass(frozen=True, slots=True)
class Query:
    """A request whose form is right; whether its sender may ask is for others to say.

    ``filter``: as it was given, in JSON; ``dates`` and ``where`` are what it says.
    ``interval``: of a series, else None.
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
        """What it asks for, without who asks: ``parse_forwarded`` gives the same request."""
        asked: dict[str, Any] = {"Field": list(self.fields)}
        if self.filter:
            asked["filter"] = msgspec.json.decode(self.filter)
        if self.interval is not None:
            asked["interval"] = self.interval
        return asked


def parse_request(content: bytes, *, series: bool = False) -> Query:
    """The request in a body, whatever its Content-Type says, or Refused."""
    return read_request(parse_object(content), series=series)


def parse_forwarded(given: dict[str, Any]) -> Query:
    """The request that ``forwarded`` gave these parameters of."""
    return _asked(given, {}, series="interval" in given)


def read_request(given: dict[str, Any], *, series: bool = False) -> Query:
    """The request in parameters that have been decoded (``parse_object``), or Refused."""
    for name in given:
        if name not in PARAMETERS and not (series and name == "interval"):
            raise RequestRefused(INVALID_PARAMETER, f"unknown parameter {shown(name)}")
    sender = {name: _text(given, name) for name in ("ssid", "userId", "token")}
    if not sender["ssid"] and not sender["userId"]:
        raise RequestRefused(NO_USER, "give ssid, or userId and token")
    return _asked(given, sender, series=series)


def _asked(given: dict[str, Any], sender: dict[str, str], *, series: bool) -> Query:
    conditions = _list(given, "filter", CONDITIONS_MAX)
    dates, where = read_filter(conditions)
    return Query(
        ssid=sender.get("ssid") or None,
        user_id=sender.get("userId") or None,
        token=sender.get("token") or None,
        filter=msgspec.json.encode(conditions).decode() if conditions else "",
        dates=dates,
        where=where,
        fields=_fields(given),
        interval=_interval(given) if series else None,
    )


def parse_object(content: bytes) -> dict[str, Any]:
    """The JSON object in some bytes, or Refused: of JSON alone, and where nothing is there twice."""
    if len(content) > BODY_BYTES_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"the body has more than {BODY_BYTES_MAX} bytes", http_status=413)
    if not content.strip():
        raise RequestRefused(INVALID_PARAMETER, "the body is empty; a JSON object is expected")
    given = decode_json(content)
    if type(given) is not dict:
        raise RequestRefused(INVALID_PARAMETER, "the body is not a JSON object")
    return given


def decode_json(content: bytes, source: str = "the body") -> Any:
    """The value of a JSON text. Raises RequestRefused (1000) if it is not JSON, or has a name twice in one object.

    ``source``: how the messages name the text.
    """
    try:
        value = msgspec.json.decode(content)
        pairs_of = partial(_check_names, source=source)
        json.loads(content.decode(), object_pairs_hook=pairs_of)  # msgspec takes the last of equal names
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RequestRefused(INVALID_PARAMETER, f"{source} is not JSON") from None
    return value


def _check_names(pairs: list[tuple[str, Any]], source: str) -> None:
    if len(dict(pairs)) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise RequestRefused(INVALID_PARAMETER, f"{source} has {shown(name)} twice in one object")


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, "")
    if type(value) is not str:
        raise RequestRefused(INVALID_TYPE, f"{name} must be a string")
    if len(value) > CREDENTIAL_MAX:
        raise RequestRefused(INVALID_PARAMETER, f"{name} is longer than any that was given out")
    return value


def _list(given: dict[str, Any], name: str, most: int) -> list[Any]:
    value = given.get(name, [])
    if type(value) is not list:
        raise RequestRefused(INVALID_TYPE, f"{name} must be an array")
    if len(value) > most:
        raise RequestRefused(INVALID_PARAMETER, f"{name} has more than {most} entries")
    return value


def _fields(given: dict[str, Any]) -> tuple[str, ...]:
    if "Field" in given and "fields" in given:
        raise RequestRefused(INVALID_PARAMETER, "Field and fields are the same parameter: give one of them")
    name = "fields" if "fields" in given else "Field"
    for at, field in enumerate(_list(given, name, FIELDS_MAX)):
        if type(field) is not str:
            raise RequestRefused(INVALID_TYPE, f"{name}[{at}] must be a string")
        if field not in FIELDS:
            raise RequestRefused(INVALID_PARAMETER, f"{name}[{at}] {shown(field)} is no field that can be asked for")
    return tuple(dict.fromkeys(given.get(name, ())))


def _interval(given: dict[str, Any]) -> str:
    known = ", ".join(INTERVALS)
    if "interval" not in given:
        raise RequestRefused(INVALID_PARAMETER, f"interval is missing: one of {known}")
    interval = given["interval"]
    if type(interval) is not str:
        raise RequestRefused(INVALID_TYPE, "interval must be a string")
    if interval not in INTERVALS:
        raise RequestRefused(INVALID_PARAMETER, f"interval {shown(interval)} is none of {known}")
    return interval
