"""The join of a call's events: what each does to the call's record.

A call's record is a function of the *set* of its events: ``join`` may be called in any order and any number of
times. What follows the log's order instead (repeat or fresh, ends given by the system) is set by
``ecounters.partition.state``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

from ecounters.calls.record import FORWARDED, TRANSFERRED, Call, Leg
from ecounters.calls.texts import forget_texts, same
from ecounters.events.types import (
    Answered,
    Dialed,
    DtmfReceived,
    Ended,
    Event,
    Forwarded,
    Heartbeat,
    Held,
    IvrEntered,
    IvrEvent,
    IvrLeft,
    LegEnded,
    LegEvent,
    Resumed,
    Ringing,
    Started,
    Transferred,
)


def _leg(call: Call, event: LegEvent) -> Leg:
    leg_id, retry = event.leg_id, event.retry
    legs = call.legs
    if legs is None:
        leg = Leg(same(leg_id, leg_id), retry)
        call.legs = (leg,)
        return leg
    for leg in legs:
        if leg.id == leg_id:
            if retry > leg.retry:
                leg.retry = retry
            return leg
    leg = Leg(same(leg_id, leg_id), retry)
    call.legs = (*legs, leg)
    return leg


def _started(call: Call, event: Started) -> None:
    ts = event.ts
    if call.start and (ts, event.id) >= (call.start, call.start_id):
        return
    forget_texts()
    campaign = event.campaign
    call.start = ts
    call.start_id = event.id
    call.type = event.call_type
    call.campaign = same(campaign, campaign)
    call.did = same(event.did, event.did)
    call.number = event.number
    switch = event.switch_id or ""
    call.switch = same(switch, switch)


def _dialed(call: Call, event: Dialed) -> None:
    _leg(call, event)  # that the leg is there (and its retry) is all that any counter asks for


def _ringing(call: Call, event: Ringing) -> None:
    leg = _leg(call, event)
    if not leg.ringing or event.ts < leg.ringing:
        leg.ringing = event.ts


def _answered(call: Call, event: Answered) -> None:
    leg = _leg(call, event)
    if not leg.answered or event.ts < leg.answered:
        leg.answered = event.ts


def _leg_ended(call: Call, event: LegEnded) -> None:
    leg = _leg(call, event)
    if not leg.ended or event.ts < leg.ended:
        leg.ended = event.ts


def _ended(call: Call, event: Ended) -> None:
    if call.end and (event.ts, event.id) >= (call.end, call.end_id):
        return
    call.end = event.ts
    call.end_id = event.id
    call.status = event.status
    call.ended_by = same(event.ended_by, event.ended_by)


def _hold(call: Call, event: Held | Resumed) -> None:
    entry = (event.ts, event.id, type(event) is Held)
    if call.holds is None:
        call.holds = (entry,)
    elif entry not in call.holds:
        call.holds = tuple(sorted((*call.holds, entry)))


def _ivr(call: Call, event: IvrEvent) -> None:
    entry = (event.ts, event.id, type(event) is IvrEntered, same(event.ivr_id, event.ivr_id))
    if call.ivrs is None:
        call.ivrs = entry
        return
    if event.ts > call.ivrs[-4]:  # as it nearly always is
        call.ivrs += entry
        return
    known = list(ivr_entries(call))
    if entry not in known:
        call.ivrs = tuple(chain.from_iterable(sorted([*known, entry])))


def _dtmf(call: Call, event: DtmfReceived) -> None:
    forget_texts()
    entry = (event.ts, same(event.digits, event.digits), event.valid, same(event.ivr_id, event.ivr_id))
    if call.dtmfs is None:
        call.dtmfs = {event.id: entry}
        return
    known = call.dtmfs.get(event.id)
    if known is None or entry < known:
        call.dtmfs[event.id] = entry


def _transferred(call: Call, event: Transferred) -> None:
    call.redirects |= TRANSFERRED


def _forwarded(call: Call, event: Forwarded) -> None:
    call.redirects |= FORWARDED


def _heartbeat(call: Call, event: Heartbeat) -> None:
    """Only ``last`` moves, and that moves with every event."""


JOIN: Final[dict[type[Event], Callable[[Call, Any], None]]] = {
    Started: _started,
    Dialed: _dialed,
    Ringing: _ringing,
    Answered: _answered,
    LegEnded: _leg_ended,
    IvrEntered: _ivr,
    IvrLeft: _ivr,
    DtmfReceived: _dtmf,
    Held: _hold,
    Resumed: _hold,
    Transferred: _transferred,
    Forwarded: _forwarded,
    Heartbeat: _heartbeat,
    Ended: _ended,
}
"""What each type of event of a call does to its record."""


def ivr_entries(call: Call) -> Iterator[tuple[int, str, bool, str]]:
    """(ts, event id, whether it was entered, IVR) of each ivr.entered and ivr.left, by (ts, id)."""
    flat = call.ivrs or ()
    for at in range(0, len(flat), 4):
        yield flat[at : at + 4]


def current_ivr(call: Call) -> str:
    """The IVR that the call is in: the one entered last and not left since; "" for none."""
    if call.ivrs is None:
        return ""
    if call.ivrs[-2]:  # the last thing was that it entered one, as for most calls that are in any
        return str(call.ivrs[-1])
    inside: list[str] = []
    for _, _, entered, ivr in ivr_entries(call):
        if ivr in inside:
            inside.remove(ivr)
        if entered:
            inside.append(ivr)
    return inside[-1] if inside else ""
