"""Bytes from Kafka -> an event, or BadEvent with a reason and the name of the field.

``parse`` has two ways to the same result. The quick one lets msgspec decode and type-check in one pass; it
takes what a well-behaved switch sends. Whatever it does not take (numbers given as strings, RFC 3339 times,
anything wrong) goes through ``_parse_carefully``, which looks at one field after the other and so can say
which of them is wrong. The careful way is the definition; a property test holds the quick one against it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from ecounters.errors import BadEvent
from ecounters.events.types import (
    AMOUNT_MAX,
    CALL_TYPES,
    DIGITS_MAX,
    RETRY_MAX,
    STATUS_MAX,
    TEXT_MAX,
    TS_MAX_MS,
    TS_MIN_MS,
    TYPES,
    AnyEvent,
    EventType,
    attribute,
    campaign_of,
)

VALUE_BYTES_MAX: Final = 65_536
"""A larger message is dead-lettered: no event of a call is near that size, and one must not stall a partition."""

_decode = msgspec.json.Decoder(AnyEvent).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse(value: Any) -> AnyEvent:
    """One Kafka message's value (bytes, or None) as an event, or raise BadEvent(reason, field) and nothing else."""
    try:
        event: AnyEvent = _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return _parse_carefully(value)
    # Of the fields that it skips msgspec does not look whether they are UTF-8.
    if len(value) <= VALUE_BYTES_MAX and (value.isascii() or _is_utf8(value)):
        return event
    return _parse_carefully(value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------------------------------------- the careful way


def _parse_carefully(value: bytes | None) -> AnyEvent:
    if not value:
        raise BadEvent("empty", "")
    if len(value) > VALUE_BYTES_MAX:
        raise BadEvent("too_large", "")
    raw = _object(value)
    declared = _declared_type(raw)
    fields: dict[str, Any] = {"id": _required(raw.get("id"), "id"), "ts": _time(raw.get("ts"))}
    for name, attribute_name, required in _PLANS[declared.name]:
        given = raw.get(name)
        if required:
            fields[attribute_name] = _required(given, name)
        elif given is not None:
            got = _optional(given, name)
            if got is not None:
                fields[attribute_name] = got
    # Not checked once more: what the functions of FIELDS let through is what the class declares.
    event: AnyEvent = declared.cls(**fields)  # type: ignore[assignment]
    return event


def _object(value: bytes) -> dict[str, Any]:
    """The fields that any type of event has. The others may hold whatever is JSON, as on the quick way."""
    if not _is_utf8(value):
        raise BadEvent("not_json", "")
    try:
        whole = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _object_in_parts(value)
    if type(whole) is not dict:
        raise BadEvent("not_object", "")
    return whole


def _object_in_parts(value: bytes) -> dict[str, Any]:
    """The same of what cannot be read as a whole: a field that nobody asks for may hold a number of any size."""
    try:
        parts = _decode_parts(value)
    except msgspec.ValidationError:
        _value(value)  # which says so if it is not even JSON
        raise BadEvent("not_object", "") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None
    return {name: _value(part) for name, part in parts.items() if name in FIELDS or name in ("type", "ts")}


def _value(part: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(part)
    except msgspec.ValidationError:
        return math.inf  # a number that nothing can hold; no field takes this one
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None


def _declared_type(raw: dict[str, Any]) -> EventType:
    name = raw.get("type")
    if name is None:
        raise BadEvent("missing", "type")
    if type(name) is not str:
        raise BadEvent("wrong_type", "type")
    declared = TYPES.get(name)
    if declared is None:
        raise BadEvent("unknown_type", "type")
    return declared


def _required(given: Any, name: str) -> Any:
    if given is None:
        raise BadEvent("missing", name)
    got = FIELDS[name](given, name)
    if got is None or got == "":
        raise BadEvent("empty_id" if name in _IDS else "bad_value", name)
    return got


def _optional(given: Any, name: str) -> Any:
    """None: as if it were not there."""
    got = FIELDS[name](given, name)
    if got == "":
        # An id that is given must name something; an empty leg is the simple switch's leg "1".
        if name in ("userId", "callId", "switchId"):
            raise BadEvent("empty_id", name)
        return None
    return got


def _text(given: Any, name: str) -> str:
    if type(given) is not str:
        raise BadEvent("wrong_type", name)
    if len(given) > (DIGITS_MAX if name == "digits" else TEXT_MAX):
        raise BadEvent("too_long", name)
    return given


def _text_or_number(given: Any, name: str) -> str:
    return _text(str(given) if type(given) is int and abs(given) < 10**TEXT_MAX else given, name)


def _integer(given: Any, name: str, low: int, high: int) -> int:
    if type(given) is str and re.fullmatch(r"-?[0-9]{1,15}", given):
        given = int(given)
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) is not int:
        raise BadEvent("wrong_type", name)
    if not low <= given <= high:
        raise BadEvent("bad_value", name)
    return given


def _retry(given: Any, name: str) -> int:
    return _integer(given, name, 0, RETRY_MAX)


def _status(given: Any, name: str) -> int:
    return _integer(given, name, -STATUS_MAX - 1, STATUS_MAX)


def _campaign(given: Any, name: str) -> str:
    return campaign_of(_text_or_number(given, name))


def _number(given: Any, name: str) -> int | float:
    if type(given) is str:
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", given):
            raise BadEvent("wrong_type", name)
        given = float(given) if "." in given else int(given)
    if type(given) not in (int, float):
        raise BadEvent("wrong_type", name)
    if not abs(given) <= AMOUNT_MAX:
        raise BadEvent("bad_value", name)
    return given  # type: ignore[no-any-return]  # narrowed by type() above, which mypy does not follow


def _boolean(given: Any, name: str) -> bool:
    if type(given) is not bool:
        raise BadEvent("wrong_type", name)
    return given


def _call_type(given: Any, name: str) -> str:
    text = _text(given, name)
    if text and text not in CALL_TYPES:
        raise BadEvent("bad_value", name)
    return text


def _ids(given: Any, name: str) -> list[str]:
    if type(given) is not list:
        raise BadEvent("wrong_type", name)
    for one in given:
        if not _text(one, name):
            raise BadEvent("empty_id", name)
    return given


_RFC3339: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_SECONDS: Final = {f"{second:02}": second for second in range(60)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _time(given: Any) -> int:
    if given is None:
        raise BadEvent("missing", "ts")
    if type(given) is str:
        given = _time_of_text(given)
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) is not int:
        raise BadEvent("wrong_type", "ts")
    if not TS_MIN_MS <= given < TS_MAX_MS:
        raise BadEvent("bad_ts", "ts")
    return given


def _time_of_text(text: str) -> int:
    if _DIGITS.fullmatch(text):
        return int(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise BadEvent("bad_ts", "ts")
    day, minute, second, fraction, zone = match.groups()
    try:
        return _minute(day, minute, zone) + _SECONDS[second] * 1000 + int((fraction or ".0")[1:4].ljust(3, "0"))
    except (ValueError, OverflowError, KeyError):
        raise BadEvent("bad_ts", "ts") from None


@lru_cache(1_000)
def _minute(day: str, minute: str, zone: str) -> int:
    """When that minute begins: old-fashioned switches send many events in each. ValueError if it is none."""
    moment = datetime.fromisoformat(f"{day}T{minute}:00{'+00:00' if zone in 'Zz' else zone}")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


_IDS: Final = frozenset(("id", "userId", "callId", "switchId", "ivrId"))

FIELDS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "id": _text,
    "userId": _text,
    "callId": _text,
    "switchId": _text,
    "callType": _call_type,
    "campaignId": _campaign,
    "did": _text_or_number,
    "number": _text_or_number,
    "legId": _text_or_number,
    "retry": _retry,
    "nodeId": _text_or_number,
    "agentId": _text_or_number,
    "ivrId": _text_or_number,
    "digits": _text_or_number,
    "valid": _boolean,
    "to": _text,
    "status": _status,
    "endedBy": _text,
    "cause": _text,
    "balance": _number,
    "callBalance": _number,
    "callIds": _ids,
}
"""How each field that is no type and no time is read: a function of (what was given, the field's name)."""

_PLANS: Final = {
    kind.name: tuple(
        (name, attribute(name), name in kind.needs)
        for name in FIELDS
        if name != "id" and (name in kind.needs or name in kind.may or name == "switchId")
    )
    for kind in TYPES.values()
}
"""What is read of each type, in the documented order of the checks: (field, attribute, whether it is required)."""
