"""Call: the record of one call. ``calls.join`` has what the call's events do to it, ``calls.items`` what a leg is.

Times are ms since the Unix epoch. A time of 0 means that no such event has come: no valid event has the time 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mypy_extensions import i16, i32, mypyc_attr, u8

from ecounters.calls.extras import Extras
from ecounters.calls.items import Dtmf, Hold, IvrLink, Leg
from ecounters.calls.large import LargeCall
from ecounters.calls.live_key import LiveKey
from ecounters.large_dict import LargeDict
from ecounters.native import COMPILED, as_struct
from ecounters.windows.cell import Amounts, Cell

NEITHER: Final = 1
FRESH: Final = 2
REPEAT: Final = 3
"""Values of ``Call.caller_class``, which the call's first call.started in the log decides. NEITHER: it has no number.
REPEAT: of the account's calls with this number that the log has before, the last one to start did so within 24 hours of
this one, earlier or later. FRESH: there is no such call. 0: no call.started has been applied."""

LIVE: Final = 0
SUSPECTED: Final = 1
REAPED: Final = 2
"""Values of ``Call.silence``. SUSPECTED: a live call had no event for 2 hours. REAPED: it had none for 4 hours, so it
counts as ended at its last event. LIVE: all other calls, also those that have not started or that an event ended.
The hours are the defaults of ``Policy``."""

TRANSFERRED: Final = 1
FORWARDED: Final = 2
"""Bit flags of ``Call.redirects``."""

SAVED: Final = 1
TOUCHED: Final = 2
DIRTY: Final = 4
"""Bit flags of ``Call.flags``. SAVED: the changelog has the call. TOUCHED: the call has changed since it was counted.
DIRTY: it has changed since a flush took it."""
CHANGED: Final = TOUCHED | DIRTY
"""The flags that ``Changes.touch`` sets. SAVED is the smallest flag, so flags below CHANGED lack one of these two."""

STATUS_REAPED: Final = -1
STATUS_RESTARTED: Final = -2
STATUS_SNAPSHOT: Final = -3
"""``Call.end_status`` of a call that ended without a call.ended: by silence (REAPED), by a switch.restarted, by a
switch.snapshot that does not list the call."""


@mypyc_attr(acyclic=True)
class CallOwner:
    """The account of a call, as ``changelog`` and ``partition`` use it through ``call.user``.

    ``partition.user.User`` is the only one. ``calls`` may not import ``partition``, so the type is declared here.
    """

    id: str
    calls: LargeDict[str, Call]
    touched: LargeDict[Call, None]
    numbers: LargeDict[str, int]
    new_numbers: LargeDict[str, int | None]
    erased: bool

    def rebuild_contribution(self, call: Call) -> None:
        """Compute what a restored call was counted with. Call this before the call changes."""
        raise NotImplementedError

    def settle(self) -> None:
        """Count all calls of ``touched`` that still have the flag TOUCHED. Clears their flags and the list."""
        raise NotImplementedError

    def settle_one(self, call: Call) -> None:
        """Count the call if it has the flag TOUCHED; clear the flag, and remove the call from ``touched``."""
        raise NotImplementedError

    def forget_balances(self, before: int) -> bool:
        """Forget the balances if they, and all windows that count calls, are older than ``before`` (ms)."""
        raise NotImplementedError

    def set_silence(self, call: Call, silence: int) -> bool:
        """Set ``call.silence``; return whether the call became REAPED or ceased to be, which changes its counters."""
        raise NotImplementedError

    def restore_call(self, call: Call) -> None:
        """Count a call that was read from the changelog, if it lives. All cells of the account must be restored."""
        raise NotImplementedError

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Settle, then yield the entries of the account's cells, balances and numbers that have changed."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
class Call:
    """The record of one call, from its first event until the record is dropped.

    Several classes write to this one record: a second object for each live call would cost memory.

    ==============  =====================================================================  ==================  =====
    field           meaning                                                                written by          saved
    ==============  =====================================================================  ==================  =====
    id, user        ``callId``, and the account that the call belongs to                   PartitionState      key
    last_ts         largest ``ts`` of the call's events and of snapshots that name it      PartitionState      yes
    timer_slot      the bucket in a timer wheel, and which wheel; 0: in none               TimerWheel          no
    caller_class    NEITHER, FRESH or REPEAT; 0 before the first call.started              PartitionState      yes
    silence         LIVE, SUSPECTED or REAPED                                              User, for Timeouts  yes
    flags           SAVED, TOUCHED, DIRTY                                                  Changes, User,      no
                                                                                           restoring
    first_leg       the Leg that was joined first, linked with the others: see             join                yes
                    ``lists.legs_of``
    start, ...,     the call.started with the smallest (ts, id): ``ts``, ``id``, type,     join                yes
    switch          campaign, DID, number and switch; "" for a field that it has not
    start_ids       the ids of all call.started that were joined, if there are several     Starts              yes
    last_start      the largest ``ts`` of these; 0 as long as it is ``start``              Starts              yes
    reused_at       the smallest ``ts`` of the call.started that were refused because      Starts              yes
                    they begin another call of this id; 0: there is none
    end, ...,       the call.ended with the smallest (ts, id): ``ts``, ``id``,             join                yes
    ended_by        status and who hung up
    system_end      (``ts``, status) of the end that a switch's restart or snapshot gave,  PartitionState      yes
                    while nothing later is heard of the call
    redirects       TRANSFERRED, FORWARDED                                                 join                yes
    holds           the Holds, sorted                                                      join                yes
    last_ivr        the IvrEntry that sorts last, linked with those before it: see         join                yes
                    ``lists.ivr_entries``
    dtmfs           event id -> Dtmf                                                       join                yes
    large           the legs, holds, IVR entries and inputs of a call with many of them;   join, restoring,    yes
                    ``first_leg``, ``holds``, ``last_ivr`` and ``dtmfs`` are None then     Changes, User
    cell, units,    the cell in which the call is counted now, and what it adds there,     User                no
    ring_ms, rings  see ``counters.contributions``. ``cell`` is None before the call is
    amounts         counted, and for a call.ended call that was restored, until its next
                    event
    live_key        the key in ``User.live`` under which the call is counted as live;      User                no
                    None if it is not live
    extras          compiled, the fields that most live calls do not need, see ``Extras``; this class
                    None until the first of them is set
    ==============  =====================================================================  ==================  =====

    The order of the fields matters: those that nearly every event needs come first, in the same cache lines. Compiled,
    the small integers that stand beside each other share 8 bytes. ``rings`` has a sign, because it is subtracted.
    """

    id: str
    user: CallOwner
    last_ts: int = 0
    timer_slot: int = 0
    status: i32 = 0
    caller_class: u8 = 0
    silence: u8 = LIVE
    flags: i16 = 0
    units: i32 = 0
    rings: i16 = 0
    redirects: u8 = 0
    first_leg: Leg | None = None

    start: int = 0
    start_id: str = ""
    type: str = ""
    campaign: str = ""
    did: str = ""
    number: str = ""
    switch: str = ""
    last_ivr: IvrLink | None = None
    extras: Extras | None = None

    cell: Cell | None = None
    ring_ms: int = 0
    live_key: LiveKey | None = None

    def __init__(self, id: str, user: CallOwner) -> None:
        self.id = id
        self.user = user

    @property
    def ended(self) -> int:
        """When the call ended, in ms; 0 if it has not.

        A call.ended counts first, then ``system_end``. A REAPED call ended at its last event.
        """
        if self.end:
            return self.end
        if self.system_end is not None:
            return self.system_end[0]
        return self.last_ts if self.silence == REAPED else 0

    @property
    def end_status(self) -> int:
        """The status of the end that ``ended`` returns. It means nothing while ``ended`` is 0."""
        if self.end:
            return self.status
        return STATUS_REAPED if self.system_end is None else self.system_end[1]

    # The fields of ``extras``. To set one to what it is without them makes none. Interpreted, they are the call's own.

    def _own_extras(self) -> Extras:
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    @property
    def end(self) -> int:
        return 0 if self.extras is None else self.extras.end

    @end.setter
    def end(self, value: int) -> None:
        if value or self.extras is not None:
            self._own_extras().end = value

    @property
    def end_id(self) -> str:
        return "" if self.extras is None else self.extras.end_id

    @end_id.setter
    def end_id(self, value: str) -> None:
        if value or self.extras is not None:
            self._own_extras().end_id = value

    @property
    def ended_by(self) -> str:
        return "" if self.extras is None else self.extras.ended_by

    @ended_by.setter
    def ended_by(self, value: str) -> None:
        if value or self.extras is not None:
            self._own_extras().ended_by = value

    @property
    def system_end(self) -> tuple[int, int] | None:
        return None if self.extras is None else self.extras.system_end

    @system_end.setter
    def system_end(self, value: tuple[int, int] | None) -> None:
        if value is not None or self.extras is not None:
            self._own_extras().system_end = value

    @property
    def holds(self) -> tuple[Hold, ...] | None:
        return None if self.extras is None else self.extras.holds

    @holds.setter
    def holds(self, value: tuple[Hold, ...] | None) -> None:
        if value is not None or self.extras is not None:
            self._own_extras().holds = value

    @property
    def dtmfs(self) -> dict[str, Dtmf] | None:
        return None if self.extras is None else self.extras.dtmfs

    @dtmfs.setter
    def dtmfs(self, value: dict[str, Dtmf] | None) -> None:
        if value is not None or self.extras is not None:
            self._own_extras().dtmfs = value

    @property
    def start_ids(self) -> tuple[str, ...] | None:
        return None if self.extras is None else self.extras.start_ids

    @start_ids.setter
    def start_ids(self, value: tuple[str, ...] | None) -> None:
        if value is not None or self.extras is not None:
            self._own_extras().start_ids = value

    @property
    def last_start(self) -> int:
        return 0 if self.extras is None else self.extras.last_start

    @last_start.setter
    def last_start(self, value: int) -> None:
        if value or self.extras is not None:
            self._own_extras().last_start = value

    @property
    def reused_at(self) -> int:
        return 0 if self.extras is None else self.extras.reused_at

    @reused_at.setter
    def reused_at(self, value: int) -> None:
        if value or self.extras is not None:
            self._own_extras().reused_at = value

    @property
    def large(self) -> LargeCall | None:
        return None if self.extras is None else self.extras.large

    @large.setter
    def large(self, value: LargeCall | None) -> None:
        if value is not None or self.extras is not None:
            self._own_extras().large = value

    @property
    def amounts(self) -> Amounts:
        return () if self.extras is None else self.extras.amounts

    @amounts.setter
    def amounts(self, value: Amounts) -> None:
        if value or self.extras is not None:
            self._own_extras().amounts = value


if not COMPILED:
    Call = as_struct(Call, merged=Extras)
