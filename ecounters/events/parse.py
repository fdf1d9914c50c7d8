"""The value of a Kafka message -> an event; or BadEvent with a reason and the name of the bad field.

``parse`` has two ways to one result:

* quick: msgspec decodes and type-checks in one pass. It accepts an event whose fields have the JSON types that the
  classes of ``types`` declare, with ``ts`` in ms.
* careful: ``_parse_carefully`` reads field by field with the readers of FIELDS. It takes over whenever the quick way
  fails: for numbers sent as text, for times in RFC 3339, and for bad events, for which it finds the reason and field.

The careful way is the definition. A property test checks that the quick way agrees with it.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Any, Final

import msgspec

from ecounters.errors import BadEvent
from ecounters.events.fields import FIELDS, UNREADABLE
from ecounters.events.long_integer import LongInteger
from ecounters.events.readers import Reader
from ecounters.events.types import TEXT_MAX, TYPES, AnyEvent, EventType, SwitchSnapshot, attribute

VALUE_BYTES_MAX: Final = 65_536
"""The longest value in bytes, but for a switch.snapshot. A longer one is dead-lettered: no event of a call comes near
this length, and the time to read one message must be bounded."""
SNAPSHOT_BYTES_MAX: Final = 1_048_576
"""The longest value of a switch.snapshot in bytes: about 27,000 call ids that are UUIDs."""
DEPTH_MAX: Final = 200
"""So deep may arrays and objects of a value be nested; a switch.snapshot over VALUE_BYTES_MAX may have so many in all.
Decoders go on to some 970, less what is on the stack when they are called: two workers would not agree on a value."""
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""A text with its quotes. One that is not closed goes to the end: else each quote in it would be tried as a beginning,
which takes 10 s for 64 KiB."""
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))
_SNAPSHOT: Final = SwitchSnapshot.__struct_config__.tag

_decode: Final = msgspec.json.Decoder(AnyEvent).decode
_is_ascii: Final = bytes.isascii
"""The method itself: compiled code would look it up for each value."""
_CALL_IDS: Final = "callIds"
_NAMES: Final = (*FIELDS, "type")
# The known fields of an object, under their names in JSON; None for one that is missing or null. ``callIds``, which can
# be long, stays as it is: its reader decodes it.
_Scalar = str | int | float | bool | None
_Known = msgspec.defstruct(
    "_Known", [(name, msgspec.Raw if name == _CALL_IDS else _Scalar, None) for name in _NAMES], gc=False
)
_decode_known: Final = msgspec.json.Decoder(_Known).decode
_Raw = msgspec.defstruct("_Raw", [(name, msgspec.Raw, None) for name in _NAMES])
_decode_raw: Final = msgspec.json.Decoder(_Raw).decode
_check_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


def parse(value: Any) -> AnyEvent:
    """The event in the value of a Kafka message, which is bytes or None. Raises BadEvent and nothing else."""
    try:
        if len(value) > DEPTH_MAX:  # what is shorter cannot be deeper
            if len(value) > VALUE_BYTES_MAX:
                _check_large(value)
                return _parse_carefully(value)  # once, and no quick way before it: each takes long
            _check_depth(value)
        event: AnyEvent = _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return _parse_carefully(value)
    # msgspec checks the UTF-8 of the fields that it decodes, but not of the unknown fields that it skips.
    if _is_ascii(value) or _is_utf8(value):
        return event
    return _parse_carefully(value)


class _Typed(msgspec.Struct):
    """The type of an event alone: msgspec skips all other fields of a long value without making objects of them."""

    type: str


_decode_type: Final = msgspec.json.Decoder(_Typed).decode


def _check_large(value: bytes) -> None:
    """Raise BadEvent "too_large" for a value over VALUE_BYTES_MAX, unless it is a switch.snapshot within its bounds.

    A value that is no JSON in UTF-8 is no switch.snapshot.
    """
    if len(value) <= SNAPSHOT_BYTES_MAX:
        try:
            is_snapshot = _decode_type(value).type == _SNAPSHOT and _is_utf8(value)
            if is_snapshot and _openings(_STRING.sub(b"", value)) <= DEPTH_MAX:
                return
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # what is wrong with the value is not looked for: it is too large for all that it could be
    raise BadEvent("too_large", "")


def _check_depth(value: bytes) -> None:
    """Raise BadEvent "not_json" for a value that is nested deeper than DEPTH_MAX."""
    if _openings(value) > DEPTH_MAX:
        # +1 for each opening bracket and -1 for each closing one, outside of strings
        steps = array("b", _STRING.sub(b"", value).translate(_STEPS, _NO_BRACKETS))
        if max(accumulate(steps), default=0) > DEPTH_MAX:
            raise BadEvent("not_json", "")


def _openings(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


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
    known = _object(value)
    event_type = _event_type(known.type)
    attributes: dict[str, Any] = {}
    for field in _PLANS[event_type.name]:
        json_value = getattr(known, field.name)
        if field.required:
            attributes[field.attribute] = _required(json_value, field)
        elif json_value is not None:
            optional = _optional(json_value, field)
            if optional is not None:
                attributes[field.attribute] = optional
    # The constructor of a msgspec class does not check values. The readers return what the class declares.
    event: AnyEvent = event_type.cls(**attributes)  # type: ignore[assignment]
    return event


def _object(value: bytes) -> Any:
    """The known fields of the JSON object in a value, as a _Known. Raises BadEvent: not_json, not_object.

    Unknown fields are checked to be JSON, and skipped: to make objects of 1 MiB of lists, or of numbers near the
    smallest float, would be a long step.
    """
    if not _is_utf8(value):
        raise BadEvent("not_json", "")
    try:
        return _decode_known(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _object_by_fields(value)


def _object_by_fields(value: bytes) -> Any:
    """``_object`` for a value in which a known field has an array, an object, or a number that Python cannot hold.

    A long integer becomes its digits. Another such field becomes UNREADABLE or an empty dict, which its reader refuses,
    so that BadEvent names the field.
    """
    try:
        raw = _decode_raw(value)
    except msgspec.ValidationError:
        try:
            _check_json(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise BadEvent("not_json", "") from None
        raise BadEvent("not_object", "") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadEvent("not_json", "") from None
    known = _Known()
    for name in _Known.__struct_fields__:
        content = getattr(raw, name)
        if content is not None:
            setattr(known, name, content if name == _CALL_IDS else _scalar(content))
    return known


def _scalar(content: msgspec.Raw) -> Any:
    """The text, number, boolean or null of a field, a long integer as its digits.

    UNREADABLE for another number that Python cannot hold, {} for an array or an object.
    """
    if bytes(memoryview(content)[:1]) in (b"[", b"{"):
        return {}
    try:
        return msgspec.json.decode(content)
    except msgspec.ValidationError:
        text = bytes(content).decode()
        return LongInteger(text) if text.removeprefix("-").isdecimal() else UNREADABLE


def _event_type(name: Any) -> EventType:
    """The type with a name, the value of the field ``type``. Raises BadEvent for a missing, wrong or unknown one."""
    if name is None:
        raise BadEvent("missing", "type")
    if type(name) is not str:
        raise BadEvent("wrong_type", "type")
    event_type = TYPES.get(name)
    if event_type is None:
        raise BadEvent("unknown_type", "type")
    return event_type


def _required(json_value: Any, field: _PlannedField) -> Any:
    """The value of a required field. Raises BadEvent if it is absent, null, "" or bad."""
    if json_value is None:
        raise BadEvent("missing", field.name)
    value = field.read(json_value, field.name)
    if value == "":
        raise BadEvent("empty_id" if field.is_id else "bad_value", field.name)
    if field.is_id and len(value) > TEXT_MAX:
        raise BadEvent("too_long", field.name)
    return value


def _optional(json_value: Any, field: _PlannedField) -> Any:
    """The value of an optional field that is not null; None if it is "" and so not given. Raises BadEvent.

    A "" is refused as ``empty_id`` unless the field has ``may_be_empty``.
    """
    value = field.read(json_value, field.name)
    if value == "":
        if not field.may_be_empty:
            raise BadEvent("empty_id", field.name)
        return None
    return value


class _PlannedField:
    """A row of FIELDS, as one type of event has it: compiled code reads it faster than a ``Field``.

    ``attribute``: the name of the event's attribute. ``required``: whether an event of the type must have the field.
    """

    def __init__(self, name: str, event_type: EventType) -> None:
        field = FIELDS[name]
        self.name = name
        self.attribute = attribute(name)
        self.required = name in {"id", "ts", *event_type.required}
        self.read: Reader = field.read
        self.is_id = field.is_id
        self.may_be_empty = field.may_be_empty


def _plan(event_type: EventType) -> tuple[_PlannedField, ...]:
    known = {"id", "ts", "switchId", *event_type.required, *event_type.optional}
    return tuple([_PlannedField(name, event_type) for name in FIELDS if name in known])


_PLANS: Final = {event_type.name: _plan(event_type) for event_type in TYPES.values()}
"""Type -> its fields in the order of the checks."""
