"""Single messages as JSON, valid and invalid, for tests of the parser."""

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
    "account.erased": {},
    "switch.snapshot": {"switchId": "s1", "callIds": []},
    "switch.restarted": {"switchId": "s1"},
}
"""Each documented type with its own required fields."""


def least(kind: str) -> dict[str, Any]:
    """The smallest valid event of a type."""
    made: dict[str, Any] = {"id": "e1", "type": kind, "ts": TS}
    if kind != "switch.restarted":
        made["userId"] = "u1"
    if not kind.startswith(("switch.", "balance.", "account.")):
        made["callId"] = "c1"
    return made | OWN[kind]


def read(given: object) -> Any:
    """Encode a value as JSON and parse it."""
    return parse(json.dumps(given).encode())


def refusal(given: object) -> tuple[str, str]:
    """(reason, field) with which the parser refuses bytes, None, or a value encoded as JSON."""
    value = given if isinstance(given, bytes) or given is None else json.dumps(given).encode()
    with pytest.raises(BadEvent) as caught:
        parse(value)
    return caught.value.reason, caught.value.field


def raw(kind: str, **text: str) -> bytes:
    """The smallest event of a type as bytes, with fields given as JSON text, which may be invalid JSON."""
    parts = [json.dumps(k) + ":" + (text.pop(k) if k in text else json.dumps(v)) for k, v in least(kind).items()]
    parts += [json.dumps(k) + ":" + v for k, v in text.items()]
    return ("{" + ",".join(parts) + "}").encode()
