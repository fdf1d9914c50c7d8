"""Call: the join of a call's events.

A call's record is a function of the *set* of its events: ``join`` may be called in any order and any number of
times. Times are ms since the Unix epoch; 0 means "not seen" (no accepted event is that old). What follows the
log's order instead (repeat or fresh, ends given by the system) is set by ``ecounters.partition.state``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

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

if TYPE_CHECKING:
    from ecounters.windows.spans import Cell

NEITHER, FRESH, REPEAT = 1, 2, 3
"""How a call's number was known when its start was first seen; 0 before that."""

LIVE, SUSPECTED, REAPED = 0, 1, 2
"""How long a call has been silent: see spec "Time"."""

TRANSFERRED, FORWARDED = 1, 2
"""What has become of a call."""

SAVED, TOUCHED, DIRTY = 1, 2, 4
"""Marks of a call: the changelog has it; changed since it was counted; changed since it was saved."""

STATUS_REAPED, STATUS_RESTARTED, STATUS_SNAPSHOT = -1, -2, -3


class Leg(Struct, array_like=True, gc=False):
    """One leg to a called party. ``retry`` > 0: a failover retry."""

    id: str
    retry: int = 0
    ringing: int = 0
    answered: int = 0
    ended: int = 0


class Call(Struct, gc=False, eq=False):
    """One call's record. ``saved_form`` is what the changelog keeps of it.

    There are as many of these as live calls, and a field less is 8 bytes less for each. ``system``: (when, status) of
    the end that a switch's restart or snapshot gave. ``moves``: of TRANSFERRED and FORWARDED. ``ivrs``: flat, four
    after four, see ``ivr_entries``.
    """

    id: str

    # What nearly every event looks at comes first: side by side, as the processor's cache fetches it.
    last: int = 0
    due: int = 0  # its place in a wheel; of this process only
    known: int = 0
    silence: int = LIVE
    marks: int = 0  # of SAVED, TOUCHED and DIRTY; of this process only
    legs: tuple[Leg, ...] | None = None
    user: Any = None  # whose it is; of this process only

    start: int = 0
    start_id: str = ""
    type: str = ""
    campaign: str = ""
    did: str = ""
    number: str = ""
    switch: str = ""
    end: int = 0
    end_id: str = ""
    status: int = 0
    ended_by: str = ""
    system: tuple[int, int] | None = None
    moves: int = 0
    holds: tuple[tuple[int, str, bool], ...] | None = None
    ivrs: tuple[Any, ...] | None = None
    dtmfs: dict[str, tuple[int, str, bool, str]] | None = None

    # Of this process only.
    cell: Cell | None = None  # where the call is counted, and
    ones: tuple[str, ...] = ()  # with what: these slots by 1,
    sums: tuple[Any, ...] = ()  # and (slot, amount, slot, amount, ...)
    live_key: tuple[str, str, str, str] | None = None  # under what it is counted as live

    @property
    def ended(self) -> int:
        """When the call ended, whoever ended it; 0 while it lives."""
        if self.end:
            return self.end
        if self.system is not None:
            return self.system[0]
        return self.last if self.silence == REAPED else 0

    @property
    def end_status(self) -> int:
        """The status of that end; meaningless while the call lives."""
        if self.end:
            return self.status
        return STATUS_REAPED if self.system is None else self.system[1]

    def saved_form(self) -> tuple[Any, ...]:
        """What the changelog keeps of the call, in the order of SAVED."""
        return (
            self.last, self.start, self.start_id, self.type, self.campaign, self.did, self.number, self.switch,
            self.end, self.end_id, self.status, self.ended_by, self.system, self.known, self.moves, self.legs,
            self.holds, self.ivrs, self.dtmfs, self.silence,
        )  # fmt: skip


class SavedCall(Struct, array_like=True, gc=False):
    """The decoder's view of ``Call.saved_form``: typed, so that a spoilt changelog is noticed."""

    last: int
    start: int
    start_id: str
    type: str
    campaign: str
    did: str
    number: str
    switch: str
    end: int
    end_id: str
    status: int
    ended_by: str
    system: tuple[int, int] | None
    known: int
    moves: int
    legs: tuple[Leg, ...] | None
    holds: tuple[tuple[int, str, bool], ...] | None
    ivrs: tuple[Any, ...] | None
    dtmfs: dict[str, tuple[int, str, bool, str]] | None
    silence: int

    def call(self, call_id: str) -> Call:
        """The call that was saved."""
        _forget_texts()
        call_type, campaign, did, switch = self.type, self.campaign, self.did, self.switch
        return Call(
            call_id, self.last, 0, self.known, self.silence, 0, self.legs, None,
            self.start, self.start_id, _same(call_type, call_type), _same(campaign, campaign), _same(did, did),
            self.number, _same(switch, switch), self.end, self.end_id, self.status, self.ended_by, self.system,
            self.moves, self.holds, self.ivrs, self.dtmfs,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ the join

_SAME: dict[str, str] = {}
"""One object for equal texts: DIDs, campaigns, IVRs and digits recur in every call, and memory counts."""
_SAME_MAX: Final = 65_536
_same = _SAME.setdefault


def _forget_texts() -> None:
    if len(_SAME) > _SAME_MAX:
        _SAME.clear()


def _leg(call: Call, event: LegEvent) -> Leg:
    leg_id, retry = event.leg_id, event.retry
    legs = call.legs
    if legs is None:
        leg = Leg(_same(leg_id, leg_id), retry)
        call.legs = (leg,)
        return leg
    for leg in legs:
        if leg.id == leg_id:
            if retry > leg.retry:
                leg.retry = retry
            return leg
    leg = Leg(_same(leg_id, leg_id), retry)
    call.legs = (*legs, leg)
    return leg


def _started(call: Call, event: Started) -> None:
    ts = event.ts
    if call.start and (ts, event.id) >= (call.start, call.start_id):
        return
    _forget_texts()
    campaign = event.campaign
    call.start = ts
    call.start_id = event.id
    call.type = event.call_type
    call.campaign = _same(campaign, campaign)
    call.did = _same(event.did, event.did)
    call.number = event.number
    switch = event.switch_id or ""
    call.switch = _same(switch, switch)


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
    call.ended_by = _same(event.ended_by, event.ended_by)


def _hold(call: Call, event: Held | Resumed) -> None:
    entry = (event.ts, event.id, type(event) is Held)
    if call.holds is None:
        call.holds = (entry,)
    elif entry not in call.holds:
        call.holds = tuple(sorted((*call.holds, entry)))


def _ivr(call: Call, event: IvrEvent) -> None:
    entry = (event.ts, event.id, type(event) is IvrEntered, _same(event.ivr_id, event.ivr_id))
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
    _forget_texts()
    entry = (event.ts, _same(event.digits, event.digits), event.valid, _same(event.ivr_id, event.ivr_id))
    if call.dtmfs is None:
        call.dtmfs = {event.id: entry}
        return
    known = call.dtmfs.get(event.id)
    if known is None or entry < known:
        call.dtmfs[event.id] = entry


def _transferred(call: Call, event: Transferred) -> None:
    call.moves |= TRANSFERRED


def _forwarded(call: Call, event: Forwarded) -> None:
    call.moves |= FORWARDED


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
