"""Rows of calls, accounts and switches that are very large: work and records grew with them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Final

from tests.support.attacks.event_attack import Round, row

LEGS_MAX: Final = 200
OTHERS_MAX: Final = 1_000
"""Inputs, holds and IVR entries that are kept of a call."""
INPUTS: Final = 15_000
LONG_INPUTS: Final = 6_000
LEGS: Final = 10_000
IVR_ENTRIES: Final = 4_000
SNAPSHOT: Final = 2_000
SNAPSHOT_LARGEST: Final = 26_000
RESTARTS: Final = 100


def _lines(one: Round, kind: str, count: int, fields: str, at_s: int = 1) -> Iterator[bytes]:
    """Events of the call "c" of a round. ``fields``: JSON of the others, in which %d is the number of the event."""
    head = json.dumps({"type": kind, "ts": one.at_ms + at_s * 1000, "userId": one.user, "callId": f"{one.name}-c"})
    for at in range(count):
        yield f'{head[:-1]},"id":"{one.id(f"{kind}{at}")}",{fields.replace("%d", str(at))}}}'.encode()


@row(15, {"TC": 1}, refused={"call_too_large": INPUTS - OTHERS_MAX}, every_s=60, lasts_s=60)
def very_many_inputs(one: Round) -> Iterator[bytes]:
    """15,000 inputs of one call."""
    yield from one.encoded(one.call().started(0, "IBD"))
    yield from _lines(one, "dtmf.received", INPUTS, '"digits":"%d"')


@row(15, {"TC": 1}, refused={"call_too_large": LONG_INPUTS - OTHERS_MAX}, every_s=60, lasts_s=60)
def many_long_inputs(one: Round) -> Iterator[bytes]:
    """6,000 inputs of one call with long ids of the IVR and many digits."""
    yield from one.encoded(one.call().started(0, "IBD"))
    yield from _lines(one, "dtmf.received", LONG_INPUTS, f'"digits":"{"9" * 100}%d","ivrId":"{"i" * 120}%d"')


@row(17, {"TC": 1, "UC": 0}, refused={"call_too_large": LEGS - LEGS_MAX}, every_s=60, lasts_s=60)
def very_many_legs(one: Round) -> Iterator[bytes]:
    """10,000 legs of one call."""
    yield from one.encoded(one.call().started(0, "IBD"))
    yield from _lines(one, "leg.dialed", LEGS, '"legId":"%d"')


@row(17, {"TC": 1}, refused={"call_too_large": IVR_ENTRIES - OTHERS_MAX}, every_s=60, lasts_s=60)
def very_many_ivr_entries(one: Round) -> Iterator[bytes]:
    """2,000 times into an IVR and out of it, all at one time."""
    yield from one.encoded(one.call().started(0, "IBD"))
    entered, left = (_lines(one, kind, IVR_ENTRIES // 2, '"ivrId":"menu"') for kind in ("ivr.entered", "ivr.left"))
    for pair in zip(entered, left, strict=True):
        yield from pair


def _ids(count: int) -> list[str]:
    return [str(uuid.UUID(int=at)) for at in range(count)]


@row(9, {"TC": 2, "LCT": {"IBD": 1}, "CST": {"-3": 1}}, every_s=5)
def a_large_snapshot(one: Round) -> Iterator[bytes]:
    """A switch with 2,000 live calls, 80 KB; one call that is told of is named, the other is not."""
    yield from _snapshot(one, SNAPSHOT)


@row(9, {"TC": 2, "LCT": {"IBD": 1}, "CST": {"-3": 1}}, every_s=15)
def the_largest_snapshot(one: Round) -> Iterator[bytes]:
    """A switch with 26,000 live calls, just under 1 MiB."""
    yield from _snapshot(one, SNAPSHOT_LARGEST)


@row(9, {"TC": 1, "LCT": {"IBD": 1}}, refused={"too_large": 1}, every_s=5)
def a_heartbeat_of_70_kb(one: Round) -> Iterator[bytes]:
    """Only a snapshot may be larger than 64 KiB."""
    yield from one.encoded(one.call().started(0, "IBD").add("call.heartbeat", 1, note="n" * 70_000))


def _snapshot(one: Round, ids: int) -> Iterator[bytes]:
    named, other = (one.call(name).started(0, "IBD", switchId=one.switch()) for name in ("named", "other"))
    listed = [*_ids(ids), named.call_id]
    yield from one.encoded(named, other, one.event("switch.snapshot", 60, switchId=one.switch(), callIds=listed))


@row(18, {"TC": 1, "CST": {"-2": 1}}, every_s=60, lasts_s=60)
def very_many_restarts(one: Round) -> Iterator[bytes]:
    """100 restarts of a switch, where many calls of another switch live on the partition."""
    yield from one.encoded(one.call().started(0, "IBD", switchId=one.switch()))
    restarts = (one.event("switch.restarted", 1 + at, switchId=one.switch()) for at in range(RESTARTS))
    yield from one.encoded(*restarts)
