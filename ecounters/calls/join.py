"""The join: what each type of event does to the record of its call.

A ``Join`` changes the record in place and returns nothing. What it writes depends on the *set* of the call's events
alone: events may be joined in any order and any number of times. Only the order of the legs and of the entries of
``dtmfs`` depends on the order of events, and no counter depends on it. An event id is taken to name one event.

An event that would add one more leg, hold, IVR entry or DTMF input than a call keeps is refused: its join raises
BadEvent "call_too_large" and has changed nothing.

A join reads each attribute of an event once: events are msgspec objects, whose attributes are slow to read. So it is
given the event's ``ts``, which its caller needs too.

``partition.state`` sets ``last_ts``, ``caller_class`` and ``system_end``. The last two depend on the log's order.
"""

from __future__ import annotations

from typing import Any

from ecounters.calls.items import IvrLink, Leg, linked
from ecounters.calls.lists import SMALL_MAX, enlarge, ivr_entries
from ecounters.calls.record import FORWARDED, TRANSFERRED, Call
from ecounters.calls.texts import forget_texts, same
from ecounters.events.campaigns import campaign_of
from ecounters.events.numbers import number_of
from ecounters.events.types import (
    TEXT_MAX,
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


class Join:
    """What the events of one type do to the records of their calls. Compiled, a class with a method: it is called
    without the look-up and the check of arguments that a function in a dict costs.

    ``changes_limits``: whether the call's time limits may change, so that its timer must be placed anew.
    """

    changes_limits: bool = False

    def join(self, call: Call, event: Any, ts: int, watermark: int) -> None:
        """Join an event, whose time is ``ts`` (ms), to its call's record. ``watermark``: the one before the event."""
        raise NotImplementedError


def _leg(call: Call, event: LegEvent) -> Leg:
    """Return the event's leg; add it to the call if it is new. A larger ``retry`` of the event replaces the leg's.

    Raises BadEvent if the call can have no further leg.
    """
    leg_id, retry = event.leg_id, event.retry
    leg = call.first_leg
    last: Leg | None = None
    legs = 0
    while leg is not None:
        if leg.id == leg_id:
            if retry > leg.retry:
                leg.retry = retry
            return leg
        last = leg
        leg = leg.later
        legs += 1
    if call.large is not None:
        return call.large.leg(leg_id, retry)
    if legs == SMALL_MAX:
        return enlarge(call).leg(leg_id, retry)
    new = Leg(same(leg_id, leg_id), retry)
    if last is None:
        call.first_leg = new
    else:
        last.later = new
    return new


def join_start(call: Call, event: Started, ts: int) -> None:
    """Set all fields of the start, unless the record has them from a call.started with a smaller (ts, id)."""
    event_id = event.id
    if call.start and (ts, event_id) >= (call.start, call.start_id):
        return
    forget_texts()
    campaign, did = campaign_of(event.campaign_id), event.did[:TEXT_MAX]
    call.start = ts
    call.start_id = event_id
    call.type = event.call_type
    call.campaign = same(campaign, campaign)
    call.did = same(did, did)
    call.number = number_of(event.number)
    switch = event.switch_id or ""
    call.switch = same(switch, switch)


class _Dialed(Join):
    def join(self, call: Call, event: Dialed, ts: int, watermark: int) -> None:
        _leg(call, event)  # no counter needs more than the leg and its retry


class _Ringing(Join):
    def join(self, call: Call, event: Ringing, ts: int, watermark: int) -> None:
        leg = _leg(call, event)
        if not leg.ringing or ts < leg.ringing:
            leg.ringing = ts


class _Answered(Join):
    def join(self, call: Call, event: Answered, ts: int, watermark: int) -> None:
        leg = _leg(call, event)
        if not leg.answered or ts < leg.answered:
            leg.answered = ts


class _LegEnded(Join):
    def join(self, call: Call, event: LegEnded, ts: int, watermark: int) -> None:
        leg = _leg(call, event)
        if not leg.ended or ts < leg.ended:
            leg.ended = ts
        if event.outcome == ELSEWHERE:
            leg.elsewhere = True


class _Ended(Join):
    changes_limits = True

    def join(self, call: Call, event: Ended, ts: int, watermark: int) -> None:
        """Set all fields of the end, unless the record has them from a call.ended with a smaller (ts, id)."""
        event_id = event.id
        if call.end and (ts, event_id) >= (call.end, call.end_id):
            return
        ended_by = event.ended_by[:TEXT_MAX]
        call.end = ts
        call.end_id = event_id
        call.status = event.status
        call.ended_by = same(ended_by, ended_by)


class _Hold(Join):
    """A call.held or, if ``resumed``, a call.resumed."""

    def __init__(self, resumed: bool) -> None:
        self._resumed = resumed

    def join(self, call: Call, event: Held | Resumed, ts: int, watermark: int) -> None:
        """Add a Hold to ``call.holds``, which stays sorted and without duplicates."""
        hold = (ts, event.id, self._resumed)
        if call.large is not None:
            call.large.add_hold(hold)
        elif call.holds is None:
            call.holds = (hold,)
        elif hold not in call.holds:
            if len(call.holds) == SMALL_MAX:
                enlarge(call).add_hold(hold)
            else:
                call.holds = tuple(sorted((*call.holds, hold)))


class _Ivr(Join):
    """An ivr.entered or, if ``left``, an ivr.left."""

    def __init__(self, left: bool) -> None:
        self._left = left

    def join(self, call: Call, event: IvrEvent, ts: int, watermark: int) -> None:
        """Add an IvrEntry to those of the call, which stay sorted and without duplicates."""
        event_id, ivr = event.id, event.ivr_id
        ivr = same(ivr, ivr)
        last = call.last_ivr
        if last is None:
            if call.large is not None:
                call.large.add_ivr((ts, event_id, self._left, ivr))
            else:
                call.last_ivr = IvrLink(ts, event_id, self._left, 1, ivr, None)
        elif ts > last.ts and last.count < SMALL_MAX:  # later than the last entry, as nearly always
            call.last_ivr = IvrLink(ts, event_id, self._left, last.count + 1, ivr, last)
        else:
            entry, entries = (ts, event_id, self._left, ivr), list(ivr_entries(call))
            if entry in entries:
                return
            if len(entries) == SMALL_MAX:
                enlarge(call).add_ivr(entry)
            else:
                call.last_ivr = linked(sorted([*entries, entry]))


class _Dtmf(Join):
    """A DTMF input. No digits are kept of one with more than ``digits_max`` characters.

    Such an input is no menu choice but an account number, a PIN or a card. "<n> digits" replaces what was pressed.
    """

    def __init__(self, digits_max: int) -> None:
        self._digits_max = digits_max

    def join(self, call: Call, event: DtmfReceived, ts: int, watermark: int) -> None:
        """Set ``call.dtmfs[event id]``. Of different inputs with one event id the smallest (ts, digits, ...) counts."""
        forget_texts()
        event_id, digits, ivr = event.id, shown_digits(event.digits, self._digits_max), event.ivr_id[:TEXT_MAX]
        entry = (ts, same(digits, digits), event.valid, same(ivr, ivr))
        dtmfs = call.dtmfs
        if dtmfs is None:
            if call.large is not None:
                call.large.set_dtmf(event_id, entry)
            else:
                call.dtmfs = {event_id: entry}
            return
        old_entry = dtmfs.get(event_id)
        if old_entry is None and len(dtmfs) == SMALL_MAX:
            enlarge(call).set_dtmf(event_id, entry)
        elif old_entry is None or entry < old_entry:
            dtmfs[event_id] = entry


def shown_digits(digits: str, digits_max: int) -> str:
    """What is kept of the digits of a DTMF input: "<n> digits" in place of more than ``digits_max`` characters."""
    return digits if len(digits) <= digits_max else f"{len(digits)} digits"


class _Redirected(Join):
    """A call.transferred or call.forwarded, by its flag of ``Call.redirects``."""

    def __init__(self, flag: int) -> None:
        self._flag = flag

    def join(self, call: Call, event: Transferred | Forwarded, ts: int, watermark: int) -> None:
        call.redirects |= self._flag


class _Heartbeat(Join):
    def join(self, call: Call, event: Heartbeat, ts: int, watermark: int) -> None:
        """Do nothing: ``partition.state`` sets ``last_ts`` for every event of a call."""


ELSEWHERE: str = "elsewhere"
"""The ``outcome`` of a leg that stopped ringing because another leg of its ring group was answered."""


def joins(starts: Join, dtmf_digits: int) -> dict[type[Event], Join]:
    """The class of each event that belongs to a call -> its join.

    ``starts``: that of a call.started, see ``partition.starts``. ``dtmf_digits``: see ``Policy``.
    """
    return {
        Started: starts,
        Dialed: _Dialed(),
        Ringing: _Ringing(),
        Answered: _Answered(),
        LegEnded: _LegEnded(),
        IvrEntered: _Ivr(left=False),
        IvrLeft: _Ivr(left=True),
        DtmfReceived: _Dtmf(dtmf_digits),
        Held: _Hold(resumed=False),
        Resumed: _Hold(resumed=True),
        Transferred: _Redirected(TRANSFERRED),
        Forwarded: _Redirected(FORWARDED),
        Heartbeat: _Heartbeat(),
        Ended: _Ended(),
    }
