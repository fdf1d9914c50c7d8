"""Call: the record of one call. Data alone: ``calls.join`` has what the call's events do to it.

Times are ms since the Unix epoch. 0 means "not seen": no event that is accepted is older than the year 2000.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from msgspec import Struct

from ecounters.windows.cell import Cell

NEITHER, FRESH, REPEAT = 1, 2, 3
"""``Call.caller_class``: the call has no number; no other call of its number started within 24 hours; one did.
0: no call.started has been applied."""

LIVE, SUSPECTED, REAPED = 0, 1, 2
"""``Call.silence``: heard of lately; no event for 2 hours; none for 4 hours, so the call counts as ended.
``Policy`` has the limits. A call that has ended or has not started is LIVE."""

TRANSFERRED, FORWARDED = 1, 2
"""Bit flags of ``Call.redirects``."""

SAVED, TOUCHED, DIRTY = 1, 2, 4
"""Bit flags of ``Call.flags``: the changelog has the call; it has changed since it was counted, since it was saved."""
CHANGED: Final = TOUCHED | DIRTY
"""The flags that ``Changes.touch`` sets."""

STATUS_REAPED, STATUS_RESTARTED, STATUS_SNAPSHOT = -1, -2, -3
"""Statuses of an end that no call.ended gave: silence, a switch.restarted, a switch.snapshot without the call."""


class CallOwner(Protocol):
    """The account of a call, as far as code needs it that has only the call at hand.

    ``partition.user.User`` is the implementation. It is above the calls in the order of packages, hence the Protocol.
    """

    id: str
    calls: dict[str, Call]
    touched: list[Call]

    def settle(self) -> None:
        """Count all touched calls."""

    def settle_one(self, call: Call) -> None:
        """Count the call if it is touched."""

    def set_silence(self, call: Call, silence: int) -> bool:
        """Set ``call.silence``; return whether the call became REAPED or ceased to be, which changes its counters."""

    def restore_call(self, call: Call) -> None:
        """Take in a call that was read from the changelog."""

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the changelog entries of what has changed beside the calls."""


class Leg(Struct, array_like=True, gc=False):
    """One leg of a call, to one called party. Saved as an array, so the order of the fields is part of the format.

    ``retry`` is the largest one of the leg's events; above 0 the leg is a failover retry. The three times are the
    smallest ``ts`` of the leg's leg.ringing, leg.answered and leg.ended events.
    """

    id: str
    retry: int = 0
    ringing: int = 0
    answered: int = 0
    ended: int = 0


class Call(Struct, gc=False, eq=False):
    """The record of one call, from its first event until the record is dropped.

    Four writers share this one record: there is one for each live call, and a second object would cost memory.

    ==============  =====================================================================  ==================  =====
    field           meaning                                                                written by          saved
    ==============  =====================================================================  ==================  =====
    id, user        ``callId``, and the account that the call belongs to                   PartitionState      key
    last_ts         largest ``ts`` of the call's events                                    PartitionState      yes
    timer_slot      the minute in a timer wheel; the sign tells which, 0 is none           TimerWheel          no
    caller_class    NEITHER, FRESH or REPEAT; 0 before the first call.started              PartitionState      yes
    silence         LIVE, SUSPECTED or REAPED                                              Timeouts            yes
    flags           SAVED, TOUCHED, DIRTY                                                  Changes, User       no
    legs            in the order of their first events                                     join                yes
    start, ...,     the call.started with the smallest (ts, id): ``ts``, ``id``, type,     join                yes
    switch          campaign, DID, number and switch; "" for a field that it has not
    end, ...,       the call.ended with the smallest (ts, id): ``ts``, ``id``,             join                yes
    ended_by        status and who hung up
    system_end      (``ts``, status) of the end that a switch's restart or snapshot gave   PartitionState      yes
    redirects       TRANSFERRED, FORWARDED                                                 join                yes
    holds           (``ts``, event id, True if call.held) of held and resumed, sorted      join                yes
    ivrs            flat, 4 values for each event: see ``join.ivr_entries``                join                yes
    dtmfs           event id -> (``ts``, digits, valid, IVR or "")                         join                yes
    cell,           the contribution: the cell in which the call is counted now, the       User                no
    unit_slots,     slots that it adds 1 to, and (slot, amount, slot, amount, ...)
    amounts         for the others. A restored ended call has none before it changes
    live_key        the key in ``User.live`` under which the call is counted as live       User                no
    ==============  =====================================================================  ==================  =====

    The order of the fields matters: those that nearly every event needs come first, in the same cache lines.
    """

    id: str
    user: CallOwner
    last_ts: int = 0
    timer_slot: int = 0
    caller_class: int = 0
    silence: int = LIVE
    flags: int = 0
    legs: tuple[Leg, ...] | None = None

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
    system_end: tuple[int, int] | None = None
    redirects: int = 0
    holds: tuple[tuple[int, str, bool], ...] | None = None
    ivrs: tuple[Any, ...] | None = None
    dtmfs: dict[str, tuple[int, str, bool, str]] | None = None

    cell: Cell | None = None
    unit_slots: tuple[str, ...] = ()
    amounts: tuple[Any, ...] = ()
    live_key: tuple[str, str, str, str] | None = None

    @property
    def ended(self) -> int:
        """When the call ended, 0 while it lives. A call.ended counts first, then the system's end, then silence."""
        if self.end:
            return self.end
        if self.system_end is not None:
            return self.system_end[0]
        return self.last_ts if self.silence == REAPED else 0

    @property
    def end_status(self) -> int:
        """The status of the end that ``ended`` gives; meaningless while ``ended`` is 0."""
        if self.end:
            return self.status
        return STATUS_REAPED if self.system_end is None else self.system_end[1]
