"""The recount's own parser: the value of a Kafka message -> the fields of an event, or Bad with a reason and a field.

It is written from the tables of the specification alone, and shares no code with ``ecounters.events``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]
"""Name -> value of the fields that the message has and the event's type knows. ``id``, ``type``, ``ts`` (ms) are always
there."""

BYTES_MAX = 65_536
ID_MAX, DIGITS_MAX = 128, 64
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CALL = "userId! callId! switchId "
LEG = CALL + "legId retry "
TYPES = {
    "call.started": CALL + "callType! campaignId did number",
    "leg.dialed": LEG + "nodeId agentId",
    "leg.ringing": LEG,
    "leg.answered": LEG,
    "leg.ended": LEG,
    "ivr.entered": CALL + "ivrId!",
    "ivr.left": CALL + "ivrId!",
    "dtmf.received": CALL + "ivrId digits! valid",
    "call.held": CALL,
    "call.resumed": CALL,
    "call.transferred": CALL + "to",
    "call.forwarded": CALL + "to",
    "call.heartbeat": CALL,
    "call.ended": CALL + "status! endedBy cause",
    "balance.updated": "userId! switchId balance! callBalance",
    "switch.snapshot": "userId! switchId! callIds!",
    "switch.restarted": "userId switchId!",
}
"""Type -> its fields in the order of the checks. "!" marks a required field."""

CALL_TYPES = {"IBD", "OBD", "BRD", "QC", "CTC", "POOL", "MASK", "FLASH"}


class Bad(Exception):
    """A message that cannot be counted: (reason, field)."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


def parse(value: bytes | None) -> Event:
    """The event in the value of a message. Raises Bad."""
    if not value:
        raise Bad("empty")
    if len(value) > BYTES_MAX:
        raise Bad("too_large")
    given = _json(value)
    if type(given) is not dict:
        raise Bad("not_object")
    kind = given.get("type")
    if kind is None:
        raise Bad("missing", "type")
    if type(kind) is not str:
        raise Bad("wrong_type", "type")
    if kind not in TYPES:
        raise Bad("unknown_type", "type")
    event: Event = {"type": kind}
    _take(event, given, "id!")
    event["ts"] = _time(given.get("ts"))
    for field in TYPES[kind].split():
        _take(event, given, field)
    return event


def _take(event: Event, given: dict[str, Any], field: str) -> None:
    """Read one field ("name" or "name!") into the event. Raises Bad.

    ``null`` means "not given". So does ``""`` in an optional field, if the field is not an id.
    """
    name, required = field.rstrip("!"), field.endswith("!")
    if given.get(name) is None:
        if required:
            raise Bad("missing", name)
        return
    read = READERS[name](given[name], name)
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
    if LONE_SURROGATE.search(text.replace("\\\\", "xx")):
        raise Bad("not_json")  # json.loads accepts it, but it cannot be written as UTF-8 in a reply
    return decoded


LONE_SURROGATE = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])"  # the first half of a pair without the second
    r"|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"  # the second half without the first
)


def _whole(text: str) -> int | float:
    # int() refuses more than 4300 digits. No known field takes such a number, but an ignored field may hold it.
    return int(text) if len(text) <= 4300 else math.inf


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --------------------------------------------------------------------------------------------------- fields


def _text(given: Any, name: str) -> str:
    if type(given) is not str:
        raise Bad("wrong_type", name)
    if len(given) > (DIGITS_MAX if name == "digits" else ID_MAX):
        raise Bad("too_long", name)
    return given


def _text_or_number(given: Any, name: str) -> str:
    if type(given) is int and abs(given) < 10**128:
        given = str(given)
    return _text(given, name)


def _call_type(given: Any, name: str) -> str:
    text = _text(given, name)
    if text != "" and text not in CALL_TYPES:
        raise Bad("bad_value", name)
    return text


def _campaign(given: Any, name: str) -> str:
    """The campaign as text: "07" is "7"; 0, "0" and "" are "", which means "no campaign"."""
    text = _text_or_number(given, name)
    if re.fullmatch("-?[0-9]+", text):
        text = str(int(text))
    return "" if text == "0" else text


def _integer(low: int, high: int) -> Callable[[Any, str], int]:
    def read(given: Any, name: str) -> int:
        if type(given) is str and re.fullmatch("-?[0-9]{1,15}", given):
            given = int(given)
        if type(given) is float and given.is_integer():
            given = int(given)
        if type(given) is not int:
            raise Bad("wrong_type", name)
        if not low <= given <= high:
            raise Bad("bad_value", name)
        return given

    return read


def _amount(given: Any, name: str) -> int | float:
    number = given
    if type(given) is str and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", given):
        number = float(given) if "." in given else int(given)
    if type(number) is not int and type(number) is not float:
        raise Bad("wrong_type", name)
    if not -(10**15) <= number <= 10**15:
        raise Bad("bad_value", name)
    return number


def _boolean(given: Any, name: str) -> bool:
    if type(given) is not bool:
        raise Bad("wrong_type", name)
    return given


def _ids(given: Any, name: str) -> list[str]:
    if type(given) is not list:
        raise Bad("wrong_type", name)
    for call_id in given:
        if _text(call_id, name) == "":
            raise Bad("empty_id", name)
    return given


READERS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("id", "userId", "callId", "switchId", "to", "endedBy", "cause"), _text),
    **dict.fromkeys(("did", "number", "legId", "nodeId", "agentId", "ivrId", "digits"), _text_or_number),
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


def _time(given: Any) -> int:
    if given is None:
        raise Bad("missing", "ts")
    if type(given) is str:
        given = int(given) if re.fullmatch("[0-9]{1,15}", given) else _rfc3339(given)
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) is not int:
        raise Bad("wrong_type", "ts")
    if not YEAR_2000_MS <= given < YEAR_2100_MS:
        raise Bad("bad_ts", "ts")
    return given


RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(text: str) -> int:
    """ms since the Unix epoch of an RFC 3339 time; digits after the milliseconds are cut off. Raises Bad."""
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
    """Kafka's hash of a key as a signed 32-bit integer, as in the vectors of Kafka's own tests."""
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
    """The partition of a user's events, of ``partitions``: the hash without its sign bit, modulo their count."""
    return (murmur2(user_id.encode()) & 0x7FFFFFFF) % partitions
