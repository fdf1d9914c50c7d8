"""Logs of valid events that are made to keep a worker's event loop busy: many of one thing, due at the same time.

All events are of the user u1, on one partition. A log begins at a time in ms; ``next_day`` moves the watermark on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ecounters.windows.calendar import DAY_MS, MINUTE_MS, SECOND_MS
from streams.kafka.publisher import Outgoing

INPUTS: Final = 70_000
"""Calls of one DID in a day, each with another DTMF input. Their counts in one record: 2.45 MB."""
NUMBERS: Final = 200_000
DIDS: Final = 100_000
LIVE: Final = 100_000
RESTARTS: Final = 100
KEY_PRESSES: Final = 45_000
LEGS: Final = 50_000
IVR_ENTRIES: Final = 10_000
SWITCH: Final = "s1"


def message(kind: str, event_id: str, ts: int, user: str = "u1", **fields: Any) -> Outgoing:
    """One event."""
    value = json.dumps({"id": event_id, "type": kind, "ts": ts, "userId": user, **fields}, separators=(",", ":"))
    return Outgoing(value.encode(), user, False, None)


def many_inputs(begin: int, count: int = INPUTS) -> Iterator[Outgoing]:
    """Ended calls of one DID over a day, each with an input of ten digits of its own, made in an IVR."""
    for n in range(count):
        ts, call_id = begin + n * DAY_MS // count, f"i{n}"
        yield message("call.started", f"{call_id}-s", ts, callId=call_id, callType="IBD", did="1800")
        yield message("dtmf.received", f"{call_id}-d", ts, callId=call_id, digits=f"{n:010}", valid=True, ivrId="menu")
        yield message("call.ended", f"{call_id}-e", ts, callId=call_id, status=16)


def many_numbers(begin: int, count: int = NUMBERS) -> Iterator[Outgoing]:
    """Ended calls from as many telephone numbers, all within a minute: all are forgotten at the same time."""
    for n in range(count):
        ts, call_id = begin + n * MINUTE_MS // count, f"n{n}"
        yield message("call.started", f"{call_id}-s", ts, callId=call_id, callType="IBD", number=f"+1{n:010}")
        yield message("call.ended", f"{call_id}-e", ts, callId=call_id, status=16)


def many_dids(begin: int, count: int = DIDS) -> Iterator[Outgoing]:
    """Live calls, each of a DID of its own: as many cells, and as many entries of LDID and DID."""
    for n in range(count):
        yield message("call.started", f"d{n}", begin, callId=f"d{n}", callType="IBD", did=f"{n}", switchId=SWITCH)


def many_restarts(begin: int, count: int = RESTARTS) -> Iterator[Outgoing]:
    """A switch restarts again and again; the first time all of its live calls end."""
    for n in range(count):
        yield message("switch.restarted", f"r{n}", begin + n, switchId=SWITCH)


def many_key_presses(begin: int, count: int = KEY_PRESSES) -> Iterator[Outgoing]:
    """Inputs of one call: most of them are dead letters."""
    yield message("call.started", "k", begin, callId="k", callType="IBD")
    for n in range(count):
        yield message("dtmf.received", f"k{n}", begin + n, callId="k", digits=f"{n}")


def many_legs(begin: int, count: int = LEGS) -> Iterator[Outgoing]:
    """Legs of one call: most of them are dead letters."""
    yield message("call.started", "l", begin, callId="l", callType="IBD")
    for n in range(count):
        yield message("leg.ringing", f"l{n}", begin + n, callId="l", legId=str(n))


def many_ivr_entries(begin: int, count: int = IVR_ENTRIES) -> Iterator[Outgoing]:
    """IVR entries of one call with one ts, which sort into the middle: most of them are dead letters."""
    yield message("call.started", "v", begin, callId="v", callType="IBD")
    for n in range(count):
        kind = "ivr.left" if n % 2 else "ivr.entered"
        yield message(kind, f"{n * 7_919 % count:05}", begin + SECOND_MS, callId="v", ivrId=str(n % 50))


def watermark(ts: int) -> Outgoing:
    """An event of another account that moves the watermark."""
    return message("balance.updated", f"w{ts}", ts, user="ticker", balance=0)
