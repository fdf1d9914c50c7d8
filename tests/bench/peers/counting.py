"""The counting that all Python engines share: the join of a call's events, and what an event changes in the counters.

A call is a dict that JSON and pickle can hold, so that each engine can keep it where its documentation says. The
definitions are those of ecounters/counters/README.md, for a log without chaos: a call has one start and one end. An
event that is delivered again changes nothing, as long as its call is there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

WINDOW_MS: Final = 900_000
DIGITS_MAX: Final = 4
"""Of a longer DTMF input only the length is counted."""
READ: Final = frozenset(
    ("call.started", "leg.ringing", "leg.answered", "leg.ended", "ivr.entered", "dtmf.received", "call.ended")
)
"""Types of events that these counters depend on."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

Event = dict[str, Any]
Call = dict[str, Any]


def new_call() -> Call:
    """A call of which nothing is known.

    start   [ts, type, campaign, DID] or None
    end     [ts, status] or None
    legs    id -> [rang, ts of the answer or 0, whether it ended elsewhere]
    ivr     whether it has been in an IVR
    inputs  id of a DTMF input -> what is counted of it
    """
    return {"start": None, "end": None, "legs": {}, "ivr": False, "inputs": {}}


def call_key(event: Event) -> str:
    """The key of an event's call, over all users."""
    return f"{event['userId']}|{event['callId']}"


def window_key(user_id: str, call: Call) -> str:
    """The key of the cell in which a call that has started is counted."""
    return f"{user_id}|{call['start'][0] // WINDOW_MS * WINDOW_MS}"


def recent_windows(now_ms: int) -> tuple[int, int]:
    """The starts of the present window and of the one before, in ms."""
    window = now_ms // WINDOW_MS * WINDOW_MS
    return window - WINDOW_MS, window


def apply(call: Call, event: Event) -> dict[str, int]:
    """Add an event of a type in READ to its call. Returns counter -> change, for the cell at ``window_key``."""
    had_start, before = call["start"] is not None, _outcome(call)
    new_input = _join(call, event)
    if call["start"] is None:
        return {}
    changes: dict[str, int] = {}
    if not had_start:
        changes = dict.fromkeys(_fixed(call), 1)
        for counted in call["inputs"].values():
            changes[counted] = changes.get(counted, 0) + 1
    elif new_input:
        changes[new_input] = 1
    after = _outcome(call)
    if after != before:
        for name in before:
            changes[name] = -1
        for name in after:
            changes[name] = changes.get(name, 0) + 1
    return {name: change for name, change in changes.items() if change}


def _join(call: Call, event: Event) -> str:
    """Add the event to the call. Returns the counter of a DTMF input that is new, otherwise ""."""
    kind = event["type"]
    if kind.startswith("leg."):
        leg = call["legs"].setdefault(str(event.get("legId", "1")), [False, 0, False])
        if kind == "leg.ringing":
            leg[0] = True
        elif kind == "leg.answered":
            leg[1] = leg[1] or _ms(event["ts"])
        elif event.get("outcome") == "elsewhere":
            leg[2] = True
    elif kind == "call.started":
        if call["start"] is None:
            campaign = str(event.get("campaignId") or "0")
            call["start"] = [_ms(event["ts"]), event["callType"], "" if campaign == "0" else campaign, event.get("did")]
    elif kind == "call.ended":
        if call["end"] is None:
            call["end"] = [_ms(event["ts"]), int(event["status"])]
    elif kind == "ivr.entered":
        call["ivr"] = True
    elif event["id"] not in call["inputs"]:
        digits = event["digits"]
        counted = "DTMF/" + (digits if len(digits) <= DIGITS_MAX else f"{len(digits)} digits")
        call["inputs"][event["id"]] = counted
        return str(counted)
    return ""


def _fixed(call: Call) -> list[str]:
    """What a call counts from its start on."""
    _, kind, campaign, did = call["start"]
    names = ["TC", "CT/" + kind]
    if campaign:
        names.append("CMPID/" + campaign)
    if did:
        names.append("DID/" + did)
    return names


def _outcome(call: Call) -> tuple[str, ...]:
    """What a call that has started counts now, and may not count later."""
    start, end = call["start"], call["end"]
    if start is None:
        return ()
    legs = [leg for leg in call["legs"].values() if not leg[2]]
    is_answered = any(leg[1] and (end is None or leg[1] <= end[0]) for leg in legs)
    if end is None:
        return ("LCT/" + start[1], "CNC") if is_answered else ("LCT/" + start[1],)
    status = f"CST/{end[1]}"
    if is_answered:
        return status, "CNC"
    return status, "MC" if call["ivr"] or any(leg[0] for leg in legs) else "GHC"


def _ms(ts: int | str) -> int:
    """A ``ts`` in ms since the Unix epoch."""
    return ts if isinstance(ts, int) else (datetime.fromisoformat(ts) - _EPOCH) // _MS
