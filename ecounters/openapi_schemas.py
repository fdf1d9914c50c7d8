"""JSON schemas of what is asked and answered, from the tables of counters, errors and parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ecounters.counters import COUNTERS, FIELDS, PAYLOAD, Counter, Kind
from ecounters.event_types import CALL_TYPES
from ecounters.query import _OPS, _WORDS, CONDITIONS_MAX, FIELDS_MAX, PARAMETERS

Schema = dict[str, Any]

_KINDS: Final[dict[Kind, Schema]] = {
    **dict.fromkeys(
        (Kind.LIVE_MAP, Kind.CALL_MAP, Kind.INPUT_MAP),
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    ),
    **dict.fromkeys((Kind.LIVE_SUM, Kind.COUNT, Kind.SUM), {"type": "integer", "minimum": 0}),
    **dict.fromkeys((Kind.SECONDS, Kind.AVERAGE), {"type": "number", "minimum": 0}),
    Kind.BALANCE: {"type": "number"},
}
"""How a counter's value is printed."""


def payload() -> Schema:
    """The ``message`` of an answer: what it always holds, and what ``Field`` adds."""
    return {
        "type": "object",
        "required": [counter.key for counter in PAYLOAD],
        "properties": {counter.key: _counter(counter) for counter in COUNTERS.values()},
        "additionalProperties": False,
    }


def _counter(counter: Counter) -> Schema:
    schema = {**_KINDS[counter.kind], "description": counter.definition}
    if counter.source[:1] == ("type",):
        schema["propertyNames"] = {"enum": list(CALL_TYPES)}
    return schema


def error(codes: Iterable[int]) -> Schema:
    """An error with one of these codes."""
    return {
        "type": "object",
        "required": ["status", "message", "code"],
        "properties": {
            "status": {"const": "error"},
            "message": {"type": "string", "description": "what was wrong, and where"},
            "code": {"enum": sorted(codes)},
        },
        "additionalProperties": False,
    }


_TEXT: Final[Schema] = {"type": "string", "maxLength": 512}
_FIELD: Final[Schema] = {
    "type": "array",
    "maxItems": FIELDS_MAX,
    "items": {"enum": sorted(FIELDS)},
    "description": "More counters to add to the answer, in this order",
}

_PARAMETERS: Final[dict[str, Schema]] = {
    "ssid": {**_TEXT, "description": "A session's id. It is enough by itself"},
    "userId": {**_TEXT, "description": "The account, with its token"},
    "token": {**_TEXT, "description": "The account's token"},
    "Field": _FIELD,
    "fields": {**_FIELD, "description": "The same as Field; only one of them may be given"},
}


def parameters() -> Schema:
    """The body of a request."""
    known = {**_PARAMETERS, "filter": filters()}
    return {
        "type": "object",
        "properties": {name: known[name] for name in PARAMETERS},
        "additionalProperties": False,
        "anyOf": [{"required": ["ssid"]}, {"required": ["userId"]}],
        "not": {"required": ["Field", "fields"]},
        "examples": [
            {"ssid": "s…", "filter": [{"field": "date", "value": "yesterday"}], "Field": ["UC", "avgTalkTime"]}
        ],
    }


def filters() -> Schema:
    """``filter``: conditions that must all hold."""
    return {"type": "array", "maxItems": CONDITIONS_MAX, "items": _date()}


def _date() -> Schema:
    one: Schema = {"type": ["string", "integer"]}
    return {
        "type": "object",
        "required": ["field", "value"],
        "properties": {
            "field": {"const": "date"},
            "op": {"enum": list(_OPS)},
            "value": {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]},
        },
        "additionalProperties": False,
        "description": "YYYY-MM-DD (a whole day) and YYYY-MM-DD HH:MM:SS in the account's zone, RFC 3339, ms since 1970, "
        f"or one of {', '.join(_WORDS)}. A pair is what `between` takes",
    }
