"""FIELDS: one row for each field of an event, with its reader and its JSON schema side by side.

``ecounters.events.parse`` uses the readers for events that msgspec does not accept as they are. The AsyncAPI document
describes events with the schemas. Which type of event has which fields is not in this file: the classes of
``ecounters.events.types`` say so.

Every reader takes a decoded JSON value that is not null and the field's name, and returns the value in the form which
the classes declare; the reader of ``callIds`` takes undecoded JSON. It raises BadEvent(reason, name) for a value that
it cannot read. A reader may return "": ``parse`` decides whether the field may be empty. For an event that msgspec
accepts, the readers must give the same values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ecounters.errors import BadEvent
from ecounters.events.campaigns import campaign_of
from ecounters.events.types import (
    AMOUNT_MAX,
    CALL_TYPES,
    RETRY_MAX,
    STATUS_MAX,
    TEXT_MAX,
    TS_MAX_MS,
    TS_MIN_MS,
)

Reader = Callable[[Any, str], Any]
Schema = dict[str, Any]

UNREADABLE: Final = math.inf
"""Stands for a JSON number that Python cannot hold, such as 1e999. Every reader refuses it: it is no whole number, no
text, no boolean, no array, and beyond AMOUNT_MAX."""


class LongInteger(str):
    """The digits of a JSON integer that is too long to be decoded: it has more than 4,300 digits.

    Readers that take the digits of an integer as text take these. For all others it is out of range, or no text.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of events.

    name          its name in JSON
    read          its reader: (JSON value, name) -> value; raises BadEvent
    schema        JSON schema (draft 7) of the values that the reader takes; the AsyncAPI document adds null for an
                  optional field, and excludes "" from a required one
    is_id         True: where the field is required, "" is refused as ``empty_id``, and more than TEXT_MAX characters
                  as ``too_long``. False: "" is refused as ``bad_value``, and a text may be long
    may_be_empty  True: "" in an optional field means "not given". False: "" is refused as ``empty_id``
    """

    name: str
    read: Reader
    schema: Schema
    is_id: bool = False
    may_be_empty: bool = True


# ------------------------------------------------------------------------------------------------- texts


def _text(value: Any, name: str) -> str:
    if type(value) is not str:
        raise BadEvent("wrong_type", name)
    return value


def _text_or_integer(value: Any, name: str) -> str:
    """The text, or the decimal digits of an integer: a switch may send a DID or the id of a leg as a number."""
    return _text(str(value) if type(value) in (int, LongInteger) else value, name)


def _id(value: Any, name: str) -> str:
    text = _text(value, name)
    if len(text) > TEXT_MAX:
        raise BadEvent("too_long", name)
    return text


def _id_or_integer(value: Any, name: str) -> str:
    return _id(_text_or_integer(value, name), name)


def _campaign(value: Any, name: str) -> str:
    return campaign_of(_text_or_integer(value, name))


def _call_type(value: Any, name: str) -> str:
    text = _text(value, name)
    if text and text not in CALL_TYPES:
        raise BadEvent("bad_value", name)
    return text


def _ids(value: Any, name: str) -> list[str]:
    """The ids of an array, which is given as undecoded JSON: a loop over a quarter of a million ids would be long.

    msgspec stops at the first element that is bad, and its message says in what way.
    """
    try:
        ids = _decode_ids(value)
    except msgspec.ValidationError as error:
        what = str(error)
        reason = "empty_id" if "length >=" in what else "too_long" if "length <=" in what else "wrong_type"
        raise BadEvent(reason, name) from None
    if ids is None:
        raise BadEvent("missing", name)
    return ids


_Ids = list[Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]]
_decode_ids: Final[Callable[[Any], list[str] | None]] = msgspec.json.Decoder(_Ids | None).decode


_TEXT: Final[Schema] = {"type": "string"}
_ID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": TEXT_MAX}
_TEXT_OR_INTEGER: Final[Schema] = {"anyOf": [_TEXT, {"type": "integer"}]}
_ID_OR_INTEGER: Final[Schema] = {"anyOf": [{**_TEXT, "maxLength": TEXT_MAX}, {"type": "integer"}]}
_CAMPAIGN: Final[Schema] = {"anyOf": [_TEXT, {"type": "integer"}], "description": 'none: 0, "0", "" or not given'}
_NUMBER: Final[Schema] = {
    **_TEXT_OR_INTEGER,
    "description": "The customer's, in any spelling; a hidden caller has none",
}
_DIGITS: Final[Schema] = {**_TEXT_OR_INTEGER, "description": "Of many characters, only how many there are is kept"}
_OUTCOME: Final[Schema] = {**_TEXT, "description": '"elsewhere": another leg of the ring group was answered'}
_CALL_TYPE: Final[Schema] = {"enum": list(CALL_TYPES)}
_IDS: Final[Schema] = {"type": "array", "items": _ID}


# ---------------------------------------------------------------------------------- numbers and booleans


def _integer(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], from a JSON number (7 or 7.0) or from text of at most 15 digits."""
    if type(value) is str and re.fullmatch(r"-?[0-9]{1,15}", value):
        value = int(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is LongInteger:
        raise BadEvent("bad_value", name)
    if type(value) is not int:
        raise BadEvent("wrong_type", name)
    if not low <= value <= high:
        raise BadEvent("bad_value", name)
    return value


def _retry(value: Any, name: str) -> int:
    return _integer(value, name, 0, RETRY_MAX)


def _status(value: Any, name: str) -> int:
    return _integer(value, name, -STATUS_MAX - 1, STATUS_MAX)


def _amount(value: Any, name: str) -> int | float:
    if type(value) is str:
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", value):
            raise BadEvent("wrong_type", name)
        value = float(value) if "." in value else int(value)
    if type(value) is LongInteger:
        raise BadEvent("bad_value", name)
    if type(value) not in (int, float):
        raise BadEvent("wrong_type", name)
    if not abs(value) <= AMOUNT_MAX:
        raise BadEvent("bad_value", name)
    return value  # type: ignore[no-any-return]  # narrowed by type() above, which mypy does not follow


def _boolean(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise BadEvent("wrong_type", name)
    return value


def _integer_schema(low: int, high: int) -> Schema:
    return {
        "anyOf": [
            {"type": "integer", "minimum": low, "maximum": high},
            {"type": "string", "pattern": "^-?[0-9]{1,15}$", "description": "the same number as text"},
        ]
    }


_RETRY: Final = _integer_schema(0, RETRY_MAX)
_STATUS: Final = _integer_schema(-STATUS_MAX - 1, STATUS_MAX)
_AMOUNT: Final[Schema] = {
    "anyOf": [
        {"type": "number", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
        {"type": "string", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$", "description": "the same as text"},
    ]
}
_BOOLEAN: Final[Schema] = {"type": "boolean"}


# ------------------------------------------------------------------------------------------------- times

_EPOCH_MS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_RFC3339: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SECONDS: Final = {f"{second:02}": second for second in range(60)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _time(value: Any, name: str) -> int:
    """ms since the Unix epoch, from a whole JSON number, its digits as text, or RFC 3339 with an offset."""
    if type(value) is str:
        value = _time_of_text(value, name)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is LongInteger:
        raise BadEvent("bad_ts", name)
    if type(value) is not int:
        raise BadEvent("wrong_type", name)
    if not TS_MIN_MS <= value < TS_MAX_MS:
        raise BadEvent("bad_ts", name)
    return value


def _time_of_text(text: str, name: str) -> int:
    """ms since the Unix epoch, from digits or RFC 3339. Digits of a fraction after the third are dropped.

    Raises BadEvent "bad_ts" for any other text, also for a second of 60.
    """
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise BadEvent("bad_ts", name)
    day, minute, second, fraction, offset = match.groups()
    try:
        return _minute(day, minute, offset) + _SECONDS[second] * 1000 + int((fraction or ".0")[1:4].ljust(3, "0"))
    except (ValueError, OverflowError, KeyError):
        raise BadEvent("bad_ts", name) from None


@lru_cache(1_000)
def _minute(day: str, minute: str, offset: str) -> int:
    """When the minute begins, in ms since the Unix epoch. Raises ValueError or OverflowError if it does not exist.

    Cached: a switch that writes RFC 3339 sends many events in each minute, and ``fromisoformat`` is the slow part.
    """
    moment = datetime.fromisoformat(f"{day}T{minute}:00{'+00:00' if offset in 'Zz' else offset}")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


_TIME: Final[Schema] = {
    "description": "When it happened, by the switch's clock: ms since 1970, or RFC 3339 with an offset",
    "anyOf": [
        {"type": "integer", "minimum": TS_MIN_MS, "exclusiveMaximum": TS_MAX_MS},
        {"type": "string", "pattern": "^[0-9]{1,15}$", "description": "ms since 1970 as text"},
        {
            "type": "string",
            "pattern": r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$",
            "examples": ["2026-03-01T12:00:00.250+05:30"],
        },
    ],
}


# ------------------------------------------------------------------------------------------------- table

FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("id", _id, _ID, is_id=True, may_be_empty=False),
        Field("ts", _time, _TIME),
        Field("userId", _id, _ID, is_id=True, may_be_empty=False),
        Field("callId", _id, _ID, is_id=True, may_be_empty=False),
        Field("switchId", _id, _ID, is_id=True, may_be_empty=False),
        Field("callType", _call_type, _CALL_TYPE),
        Field("campaignId", _campaign, _CAMPAIGN),
        Field("did", _text_or_integer, _TEXT_OR_INTEGER),
        Field("number", _text_or_integer, _NUMBER),
        Field("legId", _id_or_integer, _ID_OR_INTEGER),
        Field("retry", _retry, _RETRY),
        Field("outcome", _text, _OUTCOME),
        Field("ivrId", _text_or_integer, _TEXT_OR_INTEGER, is_id=True),
        Field("digits", _text_or_integer, _DIGITS),
        Field("valid", _boolean, _BOOLEAN),
        Field("status", _status, _STATUS),
        Field("endedBy", _text, _TEXT),
        Field("balance", _amount, _AMOUNT),
        Field("callBalance", _amount, _AMOUNT),
        Field("callIds", _ids, _IDS),
    )
}
"""Every field but ``type``, by its name in JSON. Fields are checked in this order, after ``type``: if an event has
several bad fields, the dead letter names the first one in this table."""
