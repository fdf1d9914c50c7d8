"""JSON schemas of the bodies of requests and replies, from the tables of counters, parameters and conditions.

Each public function returns a new schema. ``openapi`` puts the schemas, except ``error``, among the components of its
document. References such as "#/components/schemas/Condition" lead to these components.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ecounters.counters.definitions import COUNTERS, FIELDS, Counter, Kind
from ecounters.events.types import CALL_TYPES, STATUS_MAX, TEXT_MAX
from ecounters.query import conditions, dates
from ecounters.query.conditions import CONDITIONS_MAX, VALUES_MAX
from ecounters.query.request import CREDENTIAL_MAX, FIELDS_MAX, PARAMETERS
from ecounters.reports.payload import LIVE_KINDS
from ecounters.windows.steps import INTERVALS, STEPS_MAX

Schema = dict[str, Any]

_MAP: Final[Schema] = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0}

_KINDS: Final[dict[Kind, Schema]] = {
    Kind.LIVE_MAP: _MAP,
    Kind.LIVE_SUM: _COUNT,
    Kind.CALL_MAP: _MAP,
    Kind.INPUT_MAP: _MAP,
    Kind.COUNT: _COUNT,
    Kind.SUM: _COUNT,
    Kind.SECONDS: _SECONDS,
    Kind.AVERAGE: _SECONDS,
    Kind.BALANCE: {"type": "number"},
}
"""Kind of a counter -> the schema of its value."""


def payload(*, live: bool = True) -> Schema:
    """The ``message`` of a reply. The counters of every reply are required, those of ``Field`` are optional.

    ``live``: with live calls and balances; False for a step of a series, which has neither.
    """
    counters = [counter for counter in COUNTERS.values() if live or counter.kind not in LIVE_KINDS]
    return {
        "type": "object",
        "required": [counter.key for counter in counters if counter.in_payload],
        "properties": {counter.key: _counter(counter) for counter in counters},
        "additionalProperties": False,
    }


def steps() -> Schema:
    """The ``message`` of a reply with a series: an array with an object for each step."""
    moment: Schema = {"type": "string", "format": "date-time"}
    step: Schema = {
        "type": "object",
        "required": ["from", "to", "message"],
        "properties": {"from": moment, "to": moment, "message": {"$ref": "#/components/schemas/StepMessage"}},
        "additionalProperties": False,
    }
    return {"type": "array", "maxItems": STEPS_MAX, "items": step}


def _counter(counter: Counter) -> Schema:
    schema = {**_KINDS[counter.kind], "description": counter.definition}
    if counter.source[:1] == ("type",):
        schema["propertyNames"] = {"enum": list(CALL_TYPES)}
    return schema


def error(codes: Iterable[int]) -> Schema:
    """The body of an error reply that has one of these codes."""
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


_CREDENTIAL: Final[Schema] = {"type": "string", "maxLength": CREDENTIAL_MAX}
_FIELD: Final[Schema] = {
    "type": "array",
    "maxItems": FIELDS_MAX,
    "items": {"enum": sorted(FIELDS)},
    "description": "More counters to add to the answer, in this order",
}

_PARAMETERS: Final[dict[str, Schema]] = {
    "ssid": {**_CREDENTIAL, "description": "A session's id. It is enough by itself"},
    "userId": {**_CREDENTIAL, "description": "The account, with its token"},
    "token": {**_CREDENTIAL, "description": "The account's token"},
    "filter": {
        "type": "array",
        "maxItems": CONDITIONS_MAX,
        "items": {"anyOf": [{"$ref": "#/components/schemas/Date"}, {"$ref": "#/components/schemas/Condition"}]},
        "description": f"Conditions that must all hold: at most {CONDITIONS_MAX} with all that are inside of others, "
        f"with {VALUES_MAX} values in all. Without a date, today is counted",
    },
    "Field": _FIELD,
    "fields": {**_FIELD, "description": "The same as Field; only one of them may be given"},
}
_EXAMPLE: Final = {"ssid": "s…", "filter": [{"field": "date", "value": "yesterday"}], "Field": ["UC", "avgTalkTime"]}


def parameters() -> Schema:
    """The body of a request for counters."""
    return {
        "type": "object",
        "properties": {name: _PARAMETERS[name] for name in PARAMETERS},
        "additionalProperties": False,
        "anyOf": [{"required": ["ssid"]}, {"required": ["userId"]}],
        "not": {"required": ["Field", "fields"]},
        "examples": [_EXAMPLE],
    }


def series_parameters() -> Schema:
    """The body of a request for a series: that of a request for counters, and ``interval``."""
    schema = parameters()
    schema["properties"]["interval"] = {"enum": list(INTERVALS), "description": "how long a step is"}
    return schema | {"required": ["interval"], "examples": [{**_EXAMPLE, "interval": "1h"}]}


def date() -> Schema:
    """The component Date: a condition on the date in ``filter``."""
    text = {"type": "string"}
    moment: Schema = {
        "anyOf": [
            {"enum": list(dates.WORDS)},
            {**text, "format": "date"},
            {**text, "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"},
            {**text, "format": "date-time"},
            {"type": "integer", "description": "ms since 1970"},
        ]
    }
    pair: Schema = {"type": "array", "items": moment, "minItems": 2, "maxItems": 2}
    field: Schema = {"const": "date"}
    single = [op for op in dates.DATE_OPS if op != "between"]
    return {
        "anyOf": [
            _object(["field", "value"], {"field": field, "op": {"enum": single}, "value": moment}),
            _object(["field", "value"], {"field": field, "op": {"const": "between"}, "value": pair}),
        ],
        "description": "YYYY-MM-DD (a whole day) and YYYY-MM-DD HH:MM:SS in the account's zone, RFC 3339, ms since "
        f"1970, or one of {', '.join(dates.WORDS)}. No op: between for a pair, else eq. It stands at the top only",
    }


_WORD: Final[Schema] = {"anyOf": [{"type": "string", "maxLength": TEXT_MAX}, {"type": "integer"}]}
_VALUES: Final[dict[str, Schema]] = {
    "callType": {"enum": list(CALL_TYPES)},
    "campaignId": _WORD,
    "did": _WORD,
    "status": {
        "anyOf": [
            {"type": "integer", "minimum": -STATUS_MAX - 1, "maximum": STATUS_MAX},
            {"type": "string", "pattern": "^-?[0-9]{1,15}$"},
        ]
    },
}


def condition() -> Schema:
    """The component Condition: a condition on a dimension, or and, or, not with conditions inside."""
    inner: Schema = {"$ref": "#/components/schemas/Condition"}
    several: Schema = {"type": "array", "minItems": 1, "maxItems": CONDITIONS_MAX, "items": inner}
    forms = [form for field in conditions.DIMENSIONS for form in _on(field)]
    forms += [_object([word], {word: several}) for word in ("and", "or")]
    return {
        "anyOf": [*forms, _object(["not"], {"not": inner})],
        "description": f"No op: in for an array, else eq. and, or, not go to a depth of {conditions.DEPTH_MAX}",
    }


def _on(field: str) -> list[Schema]:
    """The two forms of a condition on a dimension: with one value, and with an array of values."""
    value = _VALUES[field]
    values: Schema = {"type": "array", "minItems": 1, "maxItems": VALUES_MAX, "items": value}
    several = [op for op in conditions.VALUE_OPS if op in ("in", "nin")]
    single = [op for op in conditions.VALUE_OPS if op not in several]
    return [
        _object(["field", "value"], {"field": {"const": field}, "op": {"enum": single}, "value": value}),
        _object(["field", "value"], {"field": {"const": field}, "op": {"enum": several}, "value": values}),
    ]


def _object(required: list[str], properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
