"""The join: what each type of event does to the record of its call.

A join function changes the record in place and returns nothing. What it writes depends on the *set* of the call's
events alone: events may be joined in any order and any number of times. Only the order of the entries of ``legs`` and
``dtmfs`` depends on the order of events, and no counter depends on it. An event id is taken to name one event.

``partition.state`` sets ``last_ts``, ``caller_class`` and ``system_end``. The last two depend on the log's order.
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
    """Return the event's leg; add it to the call if it is new. A larger ``retry`` of the event replaces the leg's."""
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
    """Set all fields of the start, unless the record has them from a call.started with a smaller (ts, id)."""
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
    _leg(call, event)  # no counter needs more than the leg and its retry


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
    """Set all fields of the end, unless the record has them from a call.ended with a smaller (ts, id)."""
    if call.end and (event.ts, event.id) >= (call.end, call.end_id):
        return
    call.end = event.ts
    call.end_id = event.id
    call.status = event.status
    call.ended_by = same(event.ended_by, event.ended_by)


def _hold(call: Call, event: Held | Resumed) -> None:
    """Add (ts, event id, True if call.held) to ``call.holds``, which stays sorted and without duplicates."""
    entry = (event.ts, event.id, type(event) is Held)
    if call.holds is None:
        call.holds = (entry,)
    elif entry not in call.holds:
        call.holds = tuple(sorted((*call.holds, entry)))


def _ivr(call: Call, event: IvrEvent) -> None:
    """Add the event's 4 values to ``call.ivrs``: see ``ivr_entries``. They stay sorted and without duplicates."""
    entry = (event.ts, event.id, type(event) is IvrEntered, same(event.ivr_id, event.ivr_id))
    if call.ivrs is None:
        call.ivrs = entry
        return
    if event.ts > call.ivrs[-4]:  # later than the last entry, as nearly always
        call.ivrs += entry
        return
    entries = list(ivr_entries(call))
    if entry not in entries:
        call.ivrs = tuple(chain.from_iterable(sorted([*entries, entry])))


def _dtmf(call: Call, event: DtmfReceived) -> None:
    """Set ``call.dtmfs[event id]``. Of different inputs with one event id, the smallest (ts, digits, ...) counts."""
    forget_texts()
    entry = (event.ts, same(event.digits, event.digits), event.valid, same(event.ivr_id, event.ivr_id))
    if call.dtmfs is None:
        call.dtmfs = {event.id: entry}
        return
    old_entry = call.dtmfs.get(event.id)
    if old_entry is None or entry < old_entry:
        call.dtmfs[event.id] = entry


def _transferred(call: Call, event: Transferred) -> None:
    call.redirects |= TRANSFERRED


def _forwarded(call: Call, event: Forwarded) -> None:
    call.redirects |= FORWARDED


def _heartbeat(call: Call, event: Heartbeat) -> None:
    """Do nothing: ``partition.state`` sets ``last_ts`` for every event of a call."""


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
"""The class of each event that belongs to a call -> its join function."""


def ivr_entries(call: Call) -> Iterator[tuple[int, str, bool, str]]:
    """Yield (ts, event id, True if ivr.entered, IVR) of each ivr.entered and ivr.left of the call, by (ts, id).

    ``call.ivrs`` is one flat tuple of these 4 values for each event: a tuple for each event would cost memory.
    """
    values = call.ivrs or ()
    for begin in range(0, len(values), 4):
        yield values[begin : begin + 4]


def current_ivr(call: Call) -> str:
    """The IVR that the call is in: the one that it entered last and has not left since; "" if there is none."""
    if call.ivrs is None:
        return ""
    if call.ivrs[-2]:  # the last entry, by (ts, id), is an ivr.entered, as for most calls in an IVR
        return str(call.ivrs[-1])
    inside: list[str] = []
    for _, _, entered, ivr in ivr_entries(call):
        if ivr in inside:
            inside.remove(ivr)
        if entered:
            inside.append(ivr)
    return inside[-1] if inside else ""
