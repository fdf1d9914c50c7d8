"""Bytes from Kafka -> an event, or BadEvent with a reason and the name of the field.

``parse`` has two ways to the same result. The quick one lets msgspec decode and type-check in one pass; it
takes what a well-behaved switch sends. Whatever it does not take (numbers given as strings, RFC 3339 times,
anything wrong) goes through ``_parse_carefully``, which looks at one field after the other and so can say
which of them is wrong. The careful way is the definition; a property test holds the quick one against it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecounters.errors import BadEvent
from ecounters.events.fields import FIELDS, UNREADABLE, Field
from ecounters.events.types import TYPES, AnyEvent, EventType, attribute

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
    event_type = _event_type(raw)
    attributes: dict[str, Any] = {}
    for field, attribute_name, required in _PLANS[event_type.name]:
        given = raw.get(field.name)
        if required:
            attributes[attribute_name] = _required(given, field)
        elif given is not None:
            read = _optional(given, field)
            if read is not None:
                attributes[attribute_name] = read
    # Not checked once more: what the readers of FIELDS let through is what the class declares.
    event: AnyEvent = event_type.cls(**attributes)  # type: ignore[assignment]
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
    return {name: _value(part) for name, part in parts.items() if name in FIELDS or name == "type"}


def _value(part: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(part)
    except msgspec.ValidationError:
        return UNREADABLE
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None


def _event_type(raw: dict[str, Any]) -> EventType:
    name = raw.get("type")
    if name is None:
        raise BadEvent("missing", "type")
    if type(name) is not str:
        raise BadEvent("wrong_type", "type")
    event_type = TYPES.get(name)
    if event_type is None:
        raise BadEvent("unknown_type", "type")
    return event_type


def _required(given: Any, field: Field) -> Any:
    if given is None:
        raise BadEvent("missing", field.name)
    read = field.read(given, field.name)
    if read == "":
        raise BadEvent("empty_id" if field.is_id else "bad_value", field.name)
    return read


def _optional(given: Any, field: Field) -> Any:
    """None: as if it were not there."""
    read = field.read(given, field.name)
    if read == "":
        if not field.may_be_empty:
            raise BadEvent("empty_id", field.name)
        return None
    return read


_PLANS: Final = {
    event_type.name: tuple(
        (field, attribute(field.name), field.name in ("id", "ts", *event_type.needs))
        for field in FIELDS.values()
        if field.name in ("id", "ts", "switchId", *event_type.needs, *event_type.may)
    )
    for event_type in TYPES.values()
}
"""What is read of each type, in the order of the checks: (field, attribute of the class, whether it is required)."""
