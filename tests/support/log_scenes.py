"""Scenes: short stretches of a log in which one of the finer definitions decides, for the drawn logs of tests.

Events that are drawn one by one seldom meet: a call that a snapshot ends and an event lifts again needs three events of
one call in one order. A scene is such an order. ``log_strategies`` draws scenes, and disturbs each of their events.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE


class SceneEvent(NamedTuple):
    """One event of a scene.

    ``step_ms``: how long after the event before it the event comes. ``own``: fields that it has; the others are drawn.
    ``back_ms``: how far its ts is behind its arrival. ``call``: 0 is the scene's call, 1 the next one. ``same_id``: its
    id is that of the scene's other events with ``same_id``.
    """

    kind: str
    step_ms: int = _SECOND
    own: Mapping[str, Any] = MappingProxyType({})
    back_ms: int = 0
    call: int = 0
    same_id: bool = False


E = SceneEvent
_ON_S1: Final = {"switchId": "s1"}
_START: Final = E("call.started", 0, _ON_S1)
_NONE_LEFT: Final = E("switch.snapshot", _SECOND, {"switchId": "s1", "callIds": []})
_RESTARTED: Final = E("switch.restarted", _SECOND, _ON_S1)
_END: Final = E("call.ended", 20 * _SECOND, {"status": 16, "endedBy": "caller"})


def _leg(kind: str, leg: str, step_ms: int = _SECOND, **own: Any) -> SceneEvent:
    return E(f"leg.{kind}", step_ms, {"legId": leg, **own})


SCENES: Final[dict[str, tuple[SceneEvent, ...]]] = {
    "an event lifts a snapshot's end": (_START, _NONE_LEFT, _leg("answered", "1", 0), E("call.heartbeat", _MINUTE)),
    "an event lifts a restart's end": (_START, _RESTARTED, E("call.held", _SECOND), E("call.resumed", _SECOND)),
    "an event of the same ms lifts nothing": (_START, _NONE_LEFT, E("call.heartbeat", 0), E("call.heartbeat", 1)),
    "a real end replaces a system end": (_START, _RESTARTED, _leg("ringing", "1", 0), _END),
    "a real end before the system end": (_START, _NONE_LEFT, E("call.ended", 0, {"status": 3}, back_ms=500)),
    "a snapshot lifts an end": (
        _START, _NONE_LEFT, E("switch.snapshot", _MINUTE, {"switchId": "s2", "callIds": ["c0", "c1", "c2", "c3"]}),
    ),
    "a snapshot lifts a restart's end": (
        _START, _RESTARTED, E("switch.snapshot", 1, {"switchId": "s1", "callIds": ["c0", "c1", "c2", "c3"]}),
    ),
    "a snapshot of the past ends nothing": (
        _START, E("call.heartbeat", _MINUTE), E("switch.snapshot", 0, {"switchId": "s1", "callIds": []}, 30 * _SECOND),
    ),
    "a snapshot is a heartbeat": (
        _START, E("switch.snapshot", 2 * _HOUR - 1, {"switchId": "s2", "callIds": ["c0", "c1", "c2", "c3", "gone"]}),
        E("balance.updated", 2 * _HOUR - 1, {"balance": 1}), E("balance.updated", 2 * _HOUR, {"balance": 1}),
    ),
    "a snapshot wakes a suspected call": (
        _START, E("balance.updated", 2 * _HOUR, {"balance": 1}),
        E("switch.snapshot", _SECOND, {"switchId": "s2", "callIds": ["c0", "c1", "c2", "c3"]}),
    ),
    "a snapshot wakes a reaped call": (
        _START, E("balance.updated", 4 * _HOUR, {"balance": 1}),
        E("switch.snapshot", _SECOND, {"switchId": "s1", "callIds": ["c0", "c1", "c2", "c3"]}),
    ),
    "a snapshot before the start": (
        E("leg.ringing", 0), E("switch.snapshot", 3 * _HOUR, {"switchId": "s1", "callIds": ["c0", "c1", "c2", "c3"]}),
        E("call.started", 3 * _HOUR, _ON_S1),
    ),
    "a ring group": (
        _START, _leg("ringing", "1"), _leg("ringing", "2", 0), _leg("ringing", "3", 0),
        _leg("answered", "2", 5 * _SECOND), _leg("ended", "1", 50, outcome="elsewhere"),
        _leg("ended", "3", 20, outcome="elsewhere"), _END,
    ),
    "all legs end elsewhere": (_START, _leg("ringing", "1"), _leg("ended", "1", outcome="elsewhere"), _END),
    "a leg that is answered elsewhere": (
        _START, _leg("ringing", "1"), _leg("answered", "1"), _leg("ended", "1", outcome="elsewhere"),
        _leg("ended", "1", outcome="busy"), _END,
    ),
    "a retry that ends elsewhere": (
        _START, _leg("ringing", "1", retry=1), _leg("answered", "2", retry=1),
        _leg("ended", "1", 50, retry=1, outcome="elsewhere"), _END,
    ),
    "an answer after the end": (
        _START, _leg("ringing", "1"), E("call.ended", _SECOND, {"status": 487, "endedBy": "caller"}),
        _leg("answered", "1", 50),
    ),
    "an answer at the end": (_START, _leg("ringing", "1"), _END, _leg("answered", "1", 0)),
    "an answer after a system end": (_START, _leg("ringing", "1"), _NONE_LEFT, _leg("answered", "1", 50)),
    "on hold before the answer": (
        _START, E("call.held"), E("call.resumed", _MINUTE), _leg("answered", "1", 5 * _SECOND),
        E("call.held", _MINUTE), E("call.resumed", 10 * _SECOND), _END,
    ),
    "answered on hold": (
        _START, E("call.held"), _leg("answered", "1", 5 * _SECOND), E("call.resumed", 5 * _SECOND), E("call.held"),
        _END,
    ),
    "held and resumed at once": (
        _START, E("call.resumed", 0, same_id=True), E("call.held", 0, same_id=True), E("call.resumed", _SECOND), _END,
    ),
    "an IVR left and entered at once": (
        _START, E("ivr.left", 0, {"ivrId": "5"}, same_id=True), E("ivr.entered", 0, {"ivrId": "5"}, same_id=True),
        E("ivr.entered", 0, {"ivrId": "menu"}, same_id=True), E("ivr.left", _SECOND, {"ivrId": "menu"}),
    ),
    "a quick hang-up": (
        _START, _leg("ringing", "1"), E("call.ended", 4_999, {"status": 487, "endedBy": "caller"}),
        _leg("ringing", "2", 0),
    ),
    "a ring after a quick hang-up": (
        _START, E("call.ended", _SECOND, {"status": 487, "endedBy": "caller"}), _leg("ringing", "1", 1),
    ),
    "one number in two spellings": (
        E("call.started", 0, {"number": "+15550001111"}),
        E("call.started", 0, {"number": "tel:+1 (555) 000-1111"}, call=1),
    ),
    "hidden numbers": (
        E("call.started", 0, {"number": "Restricted"}), E("call.started", 0, {"number": "Restricted"}, call=1),
    ),
    "long inputs": (
        _START, E("dtmf.received", own={"digits": "12345678"}), E("dtmf.received", own={"digits": 87654321}),
        E("dtmf.received", own={"digits": "1234"}), E("dtmf.received", own={"digits": "12345"}),
    ),
    "one id for two long inputs": (
        _START, E("dtmf.received", own={"digits": "9" * 6}, same_id=True),
        E("dtmf.received", 0, {"digits": "1" * 12}, same_id=True), E("dtmf.received", 0, {"digits": "1"}, same_id=True),
    ),
    "a call id used again": (_START, _END, E("call.started", _MINUTE, _ON_S1), E("leg.ringing")),
    "a call id used again after a system end": (_START, _NONE_LEFT, E("call.started", 0), E("call.started", _SECOND)),
    "a call id used again after silence": (_START, E("call.started", 4 * _HOUR), E("call.started", _SECOND)),
    "a second call under one id": (
        _START, _END, E("call.started", _MINUTE, _ON_S1), E("ivr.entered", own={"ivrId": "5"}), E("dtmf.received"),
        _leg("answered", "2"), E("call.transferred"), E("call.ended", _SECOND, {"status": 3}),
    ),
    "a second call after a restart": (
        _START, _RESTARTED, E("call.started", _MINUTE, _ON_S1), _leg("ringing", "1"), _leg("answered", "1"),
        _leg("ringing", "2", 0)._replace(back_ms=30 * _SECOND), E("dtmf.received"), E("call.ended", 9 * _SECOND),
    ),
    "a second call beside the first": (
        _START, _RESTARTED, E("call.started", _MINUTE), E("call.heartbeat", 0, back_ms=30 * _SECOND),
        _leg("ringing", "1"), E("call.started", 0), E("dtmf.received"), E("call.held"),
        E("balance.updated", 2 * _HOUR, {"balance": 1}), E("call.forwarded", 0),
    ),
    "a second call after silence": (
        _START, E("call.started", 4 * _HOUR), E("dtmf.received", 1), E("call.heartbeat", 0, back_ms=_HOUR),
        _leg("answered", "1"), E("call.ended", _SECOND, {"status": 3}),
    ),
    "a snapshot names a second call": (
        _START, _RESTARTED, E("call.started", _MINUTE, _ON_S1), E("ivr.entered", 0, {"ivrId": "5"}),
        E("switch.snapshot", _SECOND, {"switchId": "s1", "callIds": ["c0", "c1", "c2", "c3"]}),
        E("switch.snapshot", _SECOND, {"switchId": "s1", "callIds": ["c0", "c1", "c2", "c3"]}, back_ms=_MINUTE),
        E("switch.snapshot", _SECOND, {"switchId": "s2", "callIds": ["c0", "c1", "c2", "c3"]}), _END,
    ),
    "a second start before the end": (
        _START, E("call.started", _SECOND), _END, E("call.started", 0, back_ms=10 * _SECOND),
    ),
    "an account is erased": (
        _START, _leg("ringing", "1"), E("balance.updated", own={"balance": 5, "callBalance": 3}), E("account.erased"),
        _leg("answered", "1"), E("call.started", 0, {"number": "+15550001111"}, call=1), _END,
    ),
    "erased and started anew": (
        E("call.started", 0, {"number": "+15550001111"}), _END, E("account.erased"), _START,
        E("balance.updated", own={"balance": 2}, back_ms=_MINUTE), E("account.erased", back_ms=_MINUTE),
    ),
}  # fmt: skip
"""What a scene shows -> its events."""
