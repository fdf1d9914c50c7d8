"""Single messages as JSON, right or wrong, for tests of parse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from tests.support.builders import T0_MS as TS

OWN: dict[str, dict[str, Any]] = {
    "call.started": {"callType": "IBD"},
    "leg.dialed": {},
    "leg.ringing": {},
    "leg.answered": {},
    "leg.ended": {},
    "ivr.entered": {"ivrId": "menu"},
    "ivr.left": {"ivrId": "menu"},
    "dtmf.received": {"digits": "1"},
    "call.held": {},
    "call.resumed": {},
    "call.transferred": {},
    "call.forwarded": {},
    "call.heartbeat": {},
    "call.ended": {"status": 16},
    "balance.updated": {"balance": 10},
    "switch.snapshot": {"switchId": "s1", "callIds": []},
    "switch.restarted": {"switchId": "s1"},
}
"""The documented types, each with the own fields that it requires."""


def least(kind: str) -> dict[str, Any]:
    """The smallest event of a type that is right."""
    made: dict[str, Any] = {"id": "e1", "type": kind, "ts": TS}
    if kind != "switch.restarted":
        made["userId"] = "u1"
    if not kind.startswith(("switch.", "balance.")):
        made["callId"] = "c1"
    return made | OWN[kind]


def read(given: object) -> Any:
    """What parse makes of a JSON value."""
    return parse(json.dumps(given).encode())


def refusal(given: object) -> tuple[str, str]:
    """(reason, field) with which parse refuses bytes, or a JSON value."""
    value = given if isinstance(given, bytes) or given is None else json.dumps(given).encode()
    with pytest.raises(BadEvent) as caught:
        parse(value)
    return caught.value.reason, caught.value.field


def raw(kind: str, **text: str) -> bytes:
    """The least event of a type with further fields given as JSON text, which may be what json.dumps can't write."""
    parts = [json.dumps(k) + ":" + (text.pop(k) if k in text else json.dumps(v)) for k, v in least(kind).items()]
    parts += [json.dumps(k) + ":" + v for k, v in text.items()]
    return ("{" + ",".join(parts) + "}").encode()
