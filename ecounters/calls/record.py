"""Call: one call's record. Data alone; ``join`` has what events do to it.

Times are ms since the Unix epoch; 0 means "not seen" (no accepted event is that old).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ecounters.windows.cell import Cell

NEITHER, FRESH, REPEAT = 1, 2, 3
"""How a call's number was known when its start was first seen; 0 before that."""

LIVE, SUSPECTED, REAPED = 0, 1, 2
"""How long a call has been silent: see spec "Time"."""

TRANSFERRED, FORWARDED = 1, 2
"""What has become of a call."""

SAVED, TOUCHED, DIRTY = 1, 2, 4
"""Bit flags of a call: the changelog has it; changed since it was counted; changed since it was saved."""
CHANGED = TOUCHED | DIRTY

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
    last_ts: int = 0
    timer_slot: int = 0  # its place in a wheel; of this process only
    caller_class: int = 0
    silence: int = LIVE
    flags: int = 0  # of SAVED, TOUCHED and DIRTY; of this process only
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
    system_end: tuple[int, int] | None = None
    redirects: int = 0
    holds: tuple[tuple[int, str, bool], ...] | None = None
    ivrs: tuple[Any, ...] | None = None
    dtmfs: dict[str, tuple[int, str, bool, str]] | None = None

    # Of this process only.
    cell: Cell | None = None  # where the call is counted, and
    unit_slots: tuple[str, ...] = ()  # with what: these slots by 1,
    amounts: tuple[Any, ...] = ()  # and (slot, amount, slot, amount, ...)
    live_key: tuple[str, str, str, str] | None = None  # under what it is counted as live

    @property
    def ended(self) -> int:
        """When the call ended, whoever ended it; 0 while it lives."""
        if self.end:
            return self.end
        if self.system_end is not None:
            return self.system_end[0]
        return self.last_ts if self.silence == REAPED else 0

    @property
    def end_status(self) -> int:
        """The status of that end; meaningless while the call lives."""
        if self.end:
            return self.status
        return STATUS_REAPED if self.system_end is None else self.system_end[1]
