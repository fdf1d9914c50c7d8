"""The AsyncAPI 3.0 document: the events that switches publish to Kafka, and the dead letters of refused events.

It is made from TYPES and FIELDS, which ``ecounters.events.parse`` uses, and from REASONS, which describes the reasons
of every BadEvent (a test compares the names). Its JSON schemas accept every event that ``parse`` accepts. They accept
some more where JSON Schema cannot say the rule: for example, the schema of a number given as text has a pattern, but no
range. The schemas are of JSON Schema draft 7, on which AsyncAPI's own schemas are based.
"""

from __future__ import annotations

from typing import Any, Final

from ecounters.errors import REASONS
from ecounters.events.fields import FIELDS, Field, Schema
from ecounters.events.parse import SNAPSHOT_BYTES_MAX, VALUE_BYTES_MAX
from ecounters.events.types import TEXT_MAX, TYPES, EventType

_NULL: Final[Schema] = {"type": "null"}


def document(version: str, topic: str) -> dict[str, Any]:
    """The whole document as a JSON value. ``version``: of Ecounters; ``topic``: the topic of events."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ecounters: events",
            "version": version,
            "description": "What telephony switches publish to Kafka so that it is counted.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": _events_channel(topic),
            "deadLetters": {
                "address": f"{topic}.dlq",
                "title": "Dead letters",
                "description": "Messages that cannot be counted, byte for byte, with why.",
                "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
            },
        },
        "operations": {
            "count": {"action": "receive", "channel": {"$ref": "#/channels/events"}, "summary": "Events are counted."},
            "refuse": {
                "action": "send",
                "channel": {"$ref": "#/channels/deadLetters"},
                "summary": "What cannot be counted is put aside, in the same transaction as the counts.",
            },
        },
        "components": {
            "messages": {**{row.name: _message(row) for row in TYPES.values()}, "deadLetter": _dead_letter()},
            "schemas": {row.name: event_schema(row) for row in TYPES.values()},
        },
    }


def _events_channel(topic: str) -> dict[str, Any]:
    return {
        "address": topic,
        "title": "Events of calls",
        "description": (
            f"One message is one event: a JSON object in UTF-8 of at most {VALUE_BYTES_MAX:,} bytes, or "
            f"{SNAPSHOT_BYTES_MAX:,} for a switch.snapshot. The key is the userId, the partitioner murmur2, so that "
            "all events of one user are on one partition, in order. switch.restarted without a userId goes to every "
            "partition. Unknown fields are ignored, and so are messages of aborted transactions. Texts other than "
            f"ids and digits are cut to {TEXT_MAX} characters."
        ),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in TYPES},
    }


def _message(row: EventType) -> dict[str, Any]:
    key: Schema = {"type": "string", "description": "the userId"}
    return {
        "name": row.name,
        "title": row.name,
        "summary": row.meaning,
        "payload": {"$ref": f"#/components/schemas/{row.name}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }


def event_schema(row: EventType) -> Schema:
    """The JSON schema of one type of event. Unknown fields are allowed, as ``parse`` ignores them."""
    required = ("id", "ts", *row.required)
    own = [field for field in FIELDS.values() if field.name in (*required, "switchId", *row.optional)]
    properties: dict[str, Schema] = {"type": {"const": row.name}, "ts": FIELDS["ts"].schema}
    properties |= {field.name: _property(field, required=field.name in required) for field in own}
    return {
        "title": row.name,
        "description": row.meaning,
        "type": "object",
        "required": ["id", "type", "ts", *row.required],
        "properties": properties,
    }


def _property(field: Field, *, required: bool) -> Schema:
    """The schema of a field in an event: a required field is neither null nor "", an optional one may be null.

    A required id has at most TEXT_MAX characters.
    """
    if required:
        return _with_texts(field.schema, {"minLength": 1, **({"maxLength": TEXT_MAX} if field.is_id else {})})
    return {"anyOf": [field.schema, _NULL]}


def _with_texts(schema: Schema, limits: Schema) -> Schema:
    """The same schema with ``limits`` on its texts. A text with a pattern stays as it is: no pattern matches ""."""
    if schema.get("type") == "string" and "pattern" not in schema:
        return {**schema, **limits}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_with_texts(option, limits) for option in schema["anyOf"]]}
    return schema


def _dead_letter() -> dict[str, Any]:
    digits: Schema = {"type": "string", "pattern": "^[0-9]+$"}
    reasons = "; ".join(f"{reason}: {meaning}" for reason, meaning in REASONS.items())
    return {
        "name": "deadLetter",
        "title": "A message that cannot be counted",
        "summary": "Value and key as they came. Of the reason unreadable: a whole record batch, without a key.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "required": ["reason", "field", "topic", "partition", "offset"],
            "properties": {
                "reason": {"enum": list(REASONS), "description": reasons},
                "field": {"type": "string", "description": "which field it is about; empty: the whole message"},
                "topic": {"type": "string", "description": "where it came from"},
                "partition": digits,
                "offset": digits,
                "last_offset": {**digits, "description": "of an unreadable record batch: its last offset"},
                "size": {
                    **digits,
                    "description": "of the value, if it was too large to be kept whole; of an unreadable record batch",
                },
            },
        },
        "payload": {"description": "any bytes, or none"},
    }
