"""TimerWheel: calls in buckets of one minute, by the minute in which their next time limit falls.

A partition has two wheels, and a call is in at most one of them. Both use the field ``call.timer_slot``: it holds the
minute, in minutes since the Unix epoch, with the sign of the wheel, or 0 if the call is in no wheel:

    timer_slot   -(minute) ............. 0 ............. +(minute)
                 drop wheel          in no wheel      silence wheel
                 all other calls                      live calls

Removing a call only clears ``call.timer_slot``. The bucket keeps a stale entry, which is skipped when the bucket is
taken. A bucket is compacted when more than half of it is stale: otherwise a call with a limit of 4 hours would stay in
memory for 4 hours, though it ended after minutes.
"""

from __future__ import annotations

import heapq
from typing import Final

from ecounters.calls.record import Call
from ecounters.windows.calendar import MINUTE_MS

SILENCE: Final = 1
DROP: Final = -1
"""The signs of the two wheels. Minutes since the Unix epoch are positive, so the sign of a slot tells its wheel."""


class _Bucket:
    """The calls that were put into one minute, in the order of ``put``; some entries may be stale.

    ``slot`` is the ``timer_slot`` of all calls that are still in the bucket: one int object for all calls saves memory.
    ``stale`` counts the removals since the bucket was last compacted. A call that was removed and put back into the
    same minute stands in ``calls`` twice until the bucket is compacted.
    """

    __slots__ = ("calls", "slot", "stale")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.calls: list[Call] = []
        self.stale = 0


class TimerWheel:
    """The calls of a partition that wait for a time limit of one kind: ``sign`` is SILENCE or DROP.

    Only the wheels change ``call.timer_slot``.
    """

    __slots__ = ("_buckets", "_minutes", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._buckets: dict[int, _Bucket] = {}
        self._minutes: list[int] = []  # a heap of the keys of _buckets

    def __len__(self) -> int:
        """How many calls are in the wheel, without stale entries."""
        return sum(len(bucket.calls) - bucket.stale for bucket in self._buckets.values())

    def put(self, call: Call, due_ms: int) -> None:
        """Put a call into the minute of ``due_ms`` (ms since the Unix epoch). The call must be in no wheel."""
        minute = due_ms // MINUTE_MS
        bucket = self._buckets.get(minute)
        if bucket is None:
            bucket = self._buckets[minute] = _Bucket(self._sign * minute)
            heapq.heappush(self._minutes, minute)
        bucket.calls.append(call)
        call.timer_slot = bucket.slot

    def remove(self, call: Call) -> None:
        """Take a call out. The call must be in this wheel. Compacts its bucket if more than half of it is stale."""
        slot = call.timer_slot
        call.timer_slot = 0
        bucket = self._buckets.get(self._sign * slot)
        if bucket is not None:
            bucket.stale += 1
            if bucket.stale * 2 > len(bucket.calls):
                bucket.calls = [member for member in dict.fromkeys(bucket.calls) if member.timer_slot == slot]
                bucket.stale = 0

    def take(self, before_minute: int) -> list[Call]:
        """Take out and return all calls of the minutes before ``before_minute``, the earliest minute first.

        Minutes are counted from the Unix epoch.
        """
        taken: list[Call] = []
        while self._minutes and self._minutes[0] < before_minute:
            minute = heapq.heappop(self._minutes)
            slot = self._sign * minute
            for call in self._buckets.pop(minute).calls:
                if call.timer_slot == slot:
                    call.timer_slot = 0
                    taken.append(call)
        return taken
