"""FIELDS: one row for each field of an event, with its reader and its JSON schema side by side.

``ecounters.events.parse`` uses the readers for events that msgspec does not accept as they are. The AsyncAPI document
describes events with the schemas. Which type of event has which fields is not in this file: the classes of
``ecounters.events.types`` say so. ``ecounters.events.readers`` has the readers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from ecounters.events.readers import (
    Reader,
    read_amount,
    read_boolean,
    read_call_type,
    read_campaign,
    read_id,
    read_id_or_integer,
    read_ids,
    read_retry,
    read_status,
    read_text,
    read_text_or_integer,
    read_time,
)
from ecounters.events.types import AMOUNT_MAX, CALL_TYPES, RETRY_MAX, STATUS_MAX, TEXT_MAX, TS_MAX_MS, TS_MIN_MS

Schema = dict[str, Any]

UNREADABLE: Final = math.inf
"""Stands for a JSON number that Python cannot hold, such as 1e999. Every reader refuses it: it is no whole number, no
text, no boolean, no array, and beyond AMOUNT_MAX."""


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

FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("id", read_id, _ID, is_id=True, may_be_empty=False),
        Field("ts", read_time, _TIME),
        Field("userId", read_id, _ID, is_id=True, may_be_empty=False),
        Field("callId", read_id, _ID, is_id=True, may_be_empty=False),
        Field("switchId", read_id, _ID, is_id=True, may_be_empty=False),
        Field("callType", read_call_type, _CALL_TYPE),
        Field("campaignId", read_campaign, _CAMPAIGN),
        Field("did", read_text_or_integer, _TEXT_OR_INTEGER),
        Field("number", read_text_or_integer, _NUMBER),
        Field("legId", read_id_or_integer, _ID_OR_INTEGER),
        Field("retry", read_retry, _RETRY),
        Field("outcome", read_text, _OUTCOME),
        Field("ivrId", read_text_or_integer, _TEXT_OR_INTEGER, is_id=True),
        Field("digits", read_text_or_integer, _DIGITS),
        Field("valid", read_boolean, _BOOLEAN),
        Field("status", read_status, _STATUS),
        Field("endedBy", read_text, _TEXT),
        Field("balance", read_amount, _AMOUNT),
        Field("callBalance", read_amount, _AMOUNT),
        Field("callIds", read_ids, _IDS),
    )
}
"""Every field but ``type``, by its name in JSON. Fields are checked in this order, after ``type``: if an event has
several bad fields, the dead letter names the first one in this table."""
