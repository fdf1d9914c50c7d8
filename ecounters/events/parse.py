"""The value of a Kafka message -> an event; or BadEvent with a reason and the name of the bad field.

``parse`` has two ways to one result:

* quick: msgspec decodes and type-checks in one pass. It accepts an event whose fields have the JSON types that the
  classes of ``types`` declare, with ``ts`` in ms.
* careful: ``_parse_carefully`` reads field by field with the readers of FIELDS. It takes over whenever the quick way
  fails: for numbers sent as text, for times in RFC 3339, and for bad events, for which it finds the reason and field.

The careful way is the definition. A property test checks that the quick way agrees with it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecounters.errors import BadEvent
from ecounters.events.fields import FIELDS, UNREADABLE, Field
from ecounters.events.types import TEXT_MAX, TYPES, AnyEvent, EventType, SwitchSnapshot, attribute

VALUE_BYTES_MAX: Final = 65_536
"""The longest value in bytes, but for a switch.snapshot. A longer one is dead-lettered: no event of a call comes near
this length, and the time to read one message must be bounded."""
SNAPSHOT_BYTES_MAX: Final = 1_048_576
"""The longest value of a switch.snapshot in bytes: about 27,000 call ids that are UUIDs."""
_SNAPSHOT: Final = SwitchSnapshot.__struct_config__.tag

_decode = msgspec.json.Decoder(AnyEvent).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse(value: Any) -> AnyEvent:
    """The event in the value of a Kafka message, which is bytes or None. Raises BadEvent and nothing else."""
    try:
        if len(value) > VALUE_BYTES_MAX:
            _check_large(value)
        event: AnyEvent = _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return _parse_carefully(value)
    # msgspec checks the UTF-8 of the fields that it decodes, but not of the unknown fields that it skips.
    if value.isascii() or _is_utf8(value):
        return event
    return _parse_carefully(value)


class _Typed(msgspec.Struct):
    """The type of an event alone: msgspec skips all other fields of a long value without making objects of them."""

    type: str


_decode_type = msgspec.json.Decoder(_Typed).decode


def _check_large(value: bytes) -> None:
    """Raise BadEvent "too_large" for a value over VALUE_BYTES_MAX, unless it is a switch.snapshot within its bound."""
    if len(value) <= SNAPSHOT_BYTES_MAX:
        try:
            if _decode_type(value).type == _SNAPSHOT:
                return
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # what is wrong with the value is not looked for: it is too large for all that it could be
    raise BadEvent("too_large", "")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------------------------------------- the careful way


def _parse_carefully(value: bytes | None) -> AnyEvent:
    """The event in a value, read field by field in the order of FIELDS. Raises BadEvent for the first bad field."""
    if not value:
        raise BadEvent("empty", "")
    raw = _object(value)
    event_type = _event_type(raw)
    attributes: dict[str, Any] = {}
    for field, attribute_name, required in _PLANS[event_type.name]:
        json_value = raw.get(field.name)
        if required:
            attributes[attribute_name] = _required(json_value, field)
        elif json_value is not None:
            optional = _optional(json_value, field)
            if optional is not None:
                attributes[attribute_name] = optional
    # The constructor of a msgspec class does not check values. The readers return what the class declares.
    event: AnyEvent = event_type.cls(**attributes)  # type: ignore[assignment]
    return event


def _object(value: bytes) -> dict[str, Any]:
    """The JSON object in a value, decoded. Raises BadEvent: not_json (also if it is not UTF-8), or not_object."""
    if not _is_utf8(value):
        raise BadEvent("not_json", "")
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _object_by_fields(value)
    if type(decoded) is not dict:
        raise BadEvent("not_object", "")
    return decoded


def _object_by_fields(value: bytes) -> dict[str, Any]:
    """The known fields of a JSON object that cannot be decoded as a whole. Raises BadEvent: not_json or not_object.

    A number that Python cannot hold makes msgspec refuse the whole value. In an unknown field it does not matter. A
    known field with such a number becomes UNREADABLE, which its reader refuses, so that BadEvent names the field.
    """
    try:
        fields = _decode_fields(value)
    except msgspec.ValidationError:
        _value(value)  # raises not_json if it is not even JSON
        raise BadEvent("not_object", "") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None
    return {name: _value(content) for name, content in fields.items() if name in FIELDS or name == "type"}


def _value(content: bytes | msgspec.Raw) -> Any:
    """A JSON value, decoded; UNREADABLE if it has a number that Python cannot hold. Raises BadEvent: not_json."""
    try:
        return msgspec.json.decode(content)
    except msgspec.ValidationError:
        return UNREADABLE
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None


def _event_type(raw: dict[str, Any]) -> EventType:
    """The type that an object names in its field ``type``. Raises BadEvent for a missing, wrong or unknown one."""
    name = raw.get("type")
    if name is None:
        raise BadEvent("missing", "type")
    if type(name) is not str:
        raise BadEvent("wrong_type", "type")
    event_type = TYPES.get(name)
    if event_type is None:
        raise BadEvent("unknown_type", "type")
    return event_type


def _required(json_value: Any, field: Field) -> Any:
    """The value of a required field. Raises BadEvent if it is absent, null, "" or bad."""
    if json_value is None:
        raise BadEvent("missing", field.name)
    value = field.read(json_value, field.name)
    if value == "":
        raise BadEvent("empty_id" if field.is_id else "bad_value", field.name)
    if field.is_id and len(value) > TEXT_MAX:
        raise BadEvent("too_long", field.name)
    return value


def _optional(json_value: Any, field: Field) -> Any:
    """The value of an optional field that is not null; None if it is "" and so not given. Raises BadEvent.

    A "" is refused as ``empty_id`` unless the field has ``may_be_empty``.
    """
    value = field.read(json_value, field.name)
    if value == "":
        if not field.may_be_empty:
            raise BadEvent("empty_id", field.name)
        return None
    return value


_PLANS: Final = {
    event_type.name: tuple(
        (field, attribute(field.name), field.name in ("id", "ts", *event_type.required))
        for field in FIELDS.values()
        if field.name in ("id", "ts", "switchId", *event_type.required, *event_type.optional)
    )
    for event_type in TYPES.values()
}
"""Type -> its fields in the order of the checks: (row of FIELDS, attribute of the event, whether it is required)."""
