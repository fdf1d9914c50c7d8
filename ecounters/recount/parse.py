"""The recount's own parser: the value of a Kafka message -> the fields of an event, or Bad with a reason and a field.

It is written from the tables of the specification and shares no code with ``ecounters.events``. The order of the checks
matters: it decides which of several faults becomes the reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ecounters.recount.nesting import DEPTH_MAX, nesting
from ecounters.recount.texts import spelled

Event = dict[str, Any]
"""The fields of an event: name -> value. ``id``, ``type`` and ``ts`` (ms) are always there; an optional field that the
message leaves out, or whose value means "none", is not."""

BYTES_MAX, SNAPSHOT_BYTES_MAX = 65_536, 1_048_576
TEXT_MAX = 128
"""Longer ids are refused; other texts are cut to so many characters. DTMF digits are neither."""
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CALL = "userId! callId! switchId "
LEG = CALL + "legId retry "
TYPES = {
    "call.started": CALL + "callType! campaignId did number",
    "leg.dialed": LEG,
    "leg.ringing": LEG,
    "leg.answered": LEG,
    "leg.ended": LEG + "outcome",
    "ivr.entered": CALL + "ivrId!",
    "ivr.left": CALL + "ivrId!",
    "dtmf.received": CALL + "ivrId~ digits! valid",
    "call.held": CALL,
    "call.resumed": CALL,
    "call.transferred": CALL,
    "call.forwarded": CALL,
    "call.heartbeat": CALL,
    "call.ended": CALL + "status! endedBy",
    "balance.updated": "userId! switchId balance! callBalance",
    "switch.snapshot": "userId! switchId! callIds!",
    "switch.restarted": "userId switchId!",
    "account.erased": "userId! switchId",
}
"""Type -> its fields after ``type``, ``id`` and ``ts``, in the order of the checks. All other fields are ignored.

"!" marks a required field. "~" marks an ivrId that is cut if it is long: it names no flow that the call is in.
"""

CALL_TYPES = {"IBD", "OBD", "BRD", "QC", "CTC", "POOL", "MASK", "FLASH"}


class Bad(Exception):
    """Raised for a message that cannot be counted. ``field``: the event's field that is wrong; "" if it is no field."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


def parse(value: bytes | None) -> Event:
    """The event in the value of a message. Raises Bad."""
    if not value:
        raise Bad("empty")
    if len(value) > SNAPSHOT_BYTES_MAX or (len(value) > BYTES_MAX and not _is_snapshot(value)):
        raise Bad("too_large")
    message = _json(value)
    if type(message) is not dict:
        raise Bad("not_object")
    kind = message.get("type")
    if kind is None:
        raise Bad("missing", "type")
    if type(kind) is not str:
        raise Bad("wrong_type", "type")
    if kind not in TYPES:
        raise Bad("unknown_type", "type")
    event: Event = {"type": kind}
    _take(event, message, "id!")
    event["ts"] = _time(message.get("ts"))
    for field in TYPES[kind].split():
        _take(event, message, field)
    return event


def _is_snapshot(value: bytes) -> bool:
    """Whether the value is a JSON object whose type is switch.snapshot, with few enough arrays and objects."""
    try:
        message = _json(value)
    except Bad:
        return False
    if type(message) is not dict or message.get("type") != "switch.snapshot":
        return False
    return nesting(value.decode())[0] <= DEPTH_MAX


def _take(event: Event, message: dict[str, Any], field: str) -> None:
    """Read one field of the message into the event. ``field``: its name with its mark, as in TYPES. Raises Bad.

    An optional field that is missing, ``null`` or ``""`` is left out of the event. But ``""`` in ``id``, ``userId``,
    ``callId`` or ``switchId`` is refused even if the field is optional.
    """
    name, required = field.rstrip("!~"), field.endswith("!")
    if message.get(name) is None:
        if required:
            raise Bad("missing", name)
        return
    read = (_cut if field.endswith("~") else READERS[name])(message[name], name)
    if read != "":
        event[name] = read
    elif name in ("id", "userId", "callId", "switchId") or (required and name == "ivrId"):
        raise Bad("empty_id", name)
    elif required:
        raise Bad("bad_value", name)


# ----------------------------------------------------------------------------------------------------- JSON


def _json(value: bytes) -> Any:
    try:
        text = value.decode("utf-8")
        decoded = json.loads(text, parse_int=_whole, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Bad("not_json") from None
    if text.count("[") + text.count("{") > DEPTH_MAX and nesting(text)[1] > DEPTH_MAX:
        raise Bad("not_json")
    if LONE_SURROGATE.search(text.replace("\\\\", "xx")):
        raise Bad("not_json")  # json.loads accepts half a surrogate pair, but a reply cannot hold it in UTF-8
    return decoded


LONE_SURROGATE = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])"  # the first half of a pair without the second
    r"|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"  # the second half without the first
)
"""Finds an escaped half of a surrogate pair in a JSON text.

Replace escaped backslashes before the search: the "u" after one begins no escape.
"""


@dataclass(frozen=True)
class Long:
    """A whole number of so many digits that Python makes no int of it. It is out of the range of every number."""

    digits: str


def _whole(text: str) -> int | Long:
    return int(text) if len(text) < 4300 else Long(text)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --------------------------------------------------------------------------------------------------- fields


def _plain(value: Any, name: str) -> str:
    """A text of any length."""
    if type(value) is not str:
        raise Bad("wrong_type", name)
    return value


def _digits(value: Any, name: str) -> str:
    """A text of any length, or the digits of an integer."""
    if type(value) is Long:
        return value.digits
    return _plain(str(value) if type(value) is int else value, name)


def _cut_plain(value: Any, name: str) -> str:
    """The first TEXT_MAX characters of a text."""
    return _plain(value, name)[:TEXT_MAX]


def _cut(value: Any, name: str) -> str:
    """The first TEXT_MAX characters of a text or of the digits of an integer."""
    return _digits(value, name)[:TEXT_MAX]


def _text(value: Any, name: str) -> str:
    """A text of up to TEXT_MAX characters."""
    if len(_plain(value, name)) > TEXT_MAX:
        raise Bad("too_long", name)
    return str(value)


def _text_or_number(value: Any, name: str) -> str:
    """A text of up to TEXT_MAX characters, or the digits of an integer of up to as many."""
    return _text(_digits(value, name), name)


def _call_type(value: Any, name: str) -> str:
    text = _plain(value, name)
    if text != "" and text not in CALL_TYPES:
        raise Bad("bad_value", name)
    return text


def _campaign(value: Any, name: str) -> str:
    """The campaign as text: "07" is "7"; 0, "0" and "" are "", which means "no campaign"."""
    text = _cut(value, name)
    if re.fullmatch("-?[0-9]+", text):
        text = str(int(text))
    return "" if text == "0" else text


def _number(value: Any, name: str) -> str:
    return spelled(_digits(value, name))[:TEXT_MAX]


def _integer(low: int, high: int) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        if type(value) is str and re.fullmatch("-?[0-9]{1,15}", value):
            value = int(value)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is Long:
            raise Bad("bad_value", name)
        if type(value) is not int:
            raise Bad("wrong_type", name)
        if not low <= value <= high:
            raise Bad("bad_value", name)
        return value

    return read


def _amount(value: Any, name: str) -> int | float:
    amount = math.inf if type(value) is Long else value
    if type(value) is str and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", value):
        amount = float(value) if "." in value else int(value)
    if type(amount) is not int and type(amount) is not float:
        raise Bad("wrong_type", name)
    if not -(10**15) <= amount <= 10**15:
        raise Bad("bad_value", name)
    return amount


def _boolean(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise Bad("wrong_type", name)
    return value


def _ids(value: Any, name: str) -> list[str]:
    if type(value) is not list:
        raise Bad("wrong_type", name)
    for call_id in value:
        if _text(call_id, name) == "":
            raise Bad("empty_id", name)
    return value


READERS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("id", "userId", "callId", "switchId"), _text),
    **dict.fromkeys(("legId", "ivrId"), _text_or_number),
    **dict.fromkeys(("outcome", "endedBy"), _cut_plain),
    "did": _cut,
    "number": _number,
    "digits": _digits,
    "callType": _call_type,
    "campaignId": _campaign,
    "retry": _integer(0, 1000),
    "status": _integer(-(2**31), 2**31 - 1),
    "valid": _boolean,
    "balance": _amount,
    "callBalance": _amount,
    "callIds": _ids,
}
"""Name of a field -> its reader: (JSON value that is not null, name) -> the field's value. Readers raise Bad."""


# ----------------------------------------------------------------------------------------------------- time


def _time(value: Any) -> int:
    if value is None:
        raise Bad("missing", "ts")
    if type(value) is str:
        value = int(value) if re.fullmatch("[0-9]{1,15}", value) else _rfc3339(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is Long:
        raise Bad("bad_ts", "ts")
    if type(value) is not int:
        raise Bad("wrong_type", "ts")
    if not YEAR_2000_MS <= value < YEAR_2100_MS:
        raise Bad("bad_ts", "ts")
    return value


RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(text: str) -> int:
    """The ms since the Unix epoch of an RFC 3339 time. Digits after the milliseconds are dropped. Raises Bad."""
    match = RFC3339.fullmatch(text)
    if match is None:
        raise Bad("bad_ts", "ts")
    day, clock, fraction, zone = match.groups("")
    try:
        moment = datetime.fromisoformat(f"{day} {clock}{zone.upper().replace('Z', '+00:00')}")
        whole_seconds = (moment - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise Bad("bad_ts", "ts") from None
    return whole_seconds * 1000 + int((fraction + "000")[:3])


# -------------------------------------------------------------------------------------------------- routing


def murmur2(key: bytes) -> int:
    """Kafka's hash of a key as a signed 32-bit integer, the form in which the vectors of Kafka's own tests have it."""
    m = 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    for at in range(0, len(key) - len(key) % 4, 4):
        k = (key[at] | key[at + 1] << 8 | key[at + 2] << 16 | key[at + 3] << 24) * m % 2**32
        k = (k ^ (k >> 24)) * m % 2**32
        h = (h * m % 2**32) ^ k
    rest = key[len(key) - len(key) % 4 :]
    for at, byte in enumerate(rest):
        h ^= byte << (8 * at)
    if rest:
        h = h * m % 2**32
    h = (h ^ (h >> 13)) * m % 2**32
    h ^= h >> 15
    return h - 2**32 if h >= 2**31 else h


def partition_of(user_id: str, partitions: int) -> int:
    """The number, from 0, of the partition that holds a user's events in a topic of ``partitions`` partitions.

    It is the hash without its sign bit, modulo ``partitions``.
    """
    return (murmur2(user_id.encode()) & 0x7FFFFFFF) % partitions
