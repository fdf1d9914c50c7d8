"""SwitchEvents: what a switch.restarted or switch.snapshot does to the calls of a partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecounters.calls.record import STATUS_RESTARTED, STATUS_SNAPSHOT, TOUCHED, Call
from ecounters.events.types import SwitchRestarted, SwitchSnapshot
from ecounters.large_dict import LargeDict
from ecounters.partition.changes import Changes
from ecounters.partition.policy import Policy
from ecounters.partition.timeouts import Timeouts
from ecounters.partition.user import User

STEP: Final = 100
"""An event is applied in steps of so many calls: about 1 ms of work."""


class SwitchEvents:
    """Applies the events of switches to the records of one partition.

    Such an event gives live calls a system end: ``Call.system_end``. The end stands until something later is heard of
    the call, see ``Timeouts.place``. Calls are found by ``Timeouts.live_by_switch``, so the work does not grow with the
    calls of other switches.
    """

    def __init__(self, policy: Policy, timeouts: Timeouts, changes: Changes) -> None:
        self._policy = policy
        self._timeouts = timeouts
        self._changes = changes

    def applying(
        self, event: SwitchRestarted | SwitchSnapshot, user: User | None, watermark_before: int
    ) -> Iterator[None]:
        """Apply an event in steps; yield after each. ``watermark_before``: the watermark without this event.

        A switch.restarted ends the live calls of its switch that started no later than the event and were not heard of
        after it: those of the account or, if it names none, of all accounts. A switch.snapshot does so for its account,
        but spares the calls that it lists: for their records it is a heartbeat, see ``_hear_of``.
        """
        watermark = max(watermark_before, event.ts)
        listed, status = frozenset[str](), STATUS_RESTARTED
        if type(event) is SwitchSnapshot:
            listed, status = frozenset(event.call_ids), STATUS_SNAPSHOT
        ending: LargeDict[Call, None] = LargeDict()  # apart, because to end a call changes the index
        for index, call in enumerate(self._timeouts.live_by_switch.calls(event.switch_id, event.user_id)):
            if index % STEP == STEP - 1:
                yield
            if call.id not in listed and self._lives(call, event.ts, watermark):
                ending[call] = None
        while ending:
            for _ in range(min(STEP, len(ending))):
                call, _ = ending.popitem()
                call.system_end = event.ts, status
                self._timeouts.place(call)
                self._changes.touch(call)
            yield
        for index, call_id in enumerate(listed):
            if index % STEP == STEP - 1:
                yield
            named = user.calls.get(call_id) if user is not None else None
            if named is not None and event.ts > named.last_ts and not (named.start and named.end):
                self._hear_of(named, event.ts, watermark_before)

    def _lives(self, call: Call, ts: int, watermark: int) -> bool:
        """Whether the call started at or before ``ts``, has no end, and was not heard of after ``ts``.

        A call that has been silent for ``max_call_ms`` by the watermark does not live, nor one of an erased account.
        """
        if call.user.erased:
            return False
        if not call.start or call.start > ts or call.end or call.system_end is not None or call.last_ts > ts:
            return False
        return call.last_ts + self._policy.max_call_ms > watermark

    def _hear_of(self, call: Call, ts: int, watermark_before: int) -> None:
        """Move ``last_ts`` of a call on to ``ts``, unless its record is due to be dropped.

        Nor if a call.started with this id, of ``ts`` or before, was refused: then the snapshot names that other call.
        Not for a call that has both a start and an end: then nothing goes by ``last_ts``.
        """
        if call.timer_slot <= 0 or call.last_ts + self._policy.max_call_ms <= watermark_before:
            if self._timeouts.drop_time(call) <= watermark_before or 0 < call.reused_at <= ts:
                return
            if call.cell is None and not call.flags & TOUCHED:
                call.user.rebuild_contribution(call)
        call.last_ts = ts
        if call.silence or call.system_end is not None:
            self._timeouts.place(call)
        self._changes.touch(call)
