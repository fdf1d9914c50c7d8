"""Wheel: calls by the minute in which something is due for them.

Each call is due in one minute, and that a call has moved on is noted there only; but where half of a bucket has moved
on, the bucket is cleared of it: an ended call must not be held in memory by a time limit of the live call that it was.
"""

from __future__ import annotations

import heapq

from ecounters.calls.record import Call
from ecounters.windows.calendar import MINUTE_MS


class _Bucket:
    """The calls that were put into one minute; ``moved``: how many of them are there no more.

    ``place``: their ``due``, one object for all of them.
    """

    __slots__ = ("calls", "moved", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self.calls: list[Call] = []
        self.moved = 0


class TimerWheel:
    """Buckets of one minute. ``sign``: with which a call's ``due`` names its minute, so that two wheels are told apart.

    A call's place is ``sign * minute``, kept in ``call.timer_slot`` by the wheel; 0 is nowhere.
    """

    __slots__ = ("_buckets", "_minutes", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._buckets: dict[int, _Bucket] = {}
        self._minutes: list[int] = []

    def __len__(self) -> int:
        return sum(len(bucket.calls) - bucket.moved for bucket in self._buckets.values())

    def put(self, call: Call, due_ms: int) -> None:
        """Let a call be due then; it must be nowhere."""
        minute = due_ms // MINUTE_MS
        bucket = self._buckets.get(minute)
        if bucket is None:
            bucket = self._buckets[minute] = _Bucket(self._sign * minute)
            heapq.heappush(self._minutes, minute)
        bucket.calls.append(call)
        call.timer_slot = bucket.place

    def remove(self, call: Call) -> None:
        """Let a call that is in this wheel be nowhere."""
        place = call.timer_slot
        call.timer_slot = 0
        bucket = self._buckets.get(self._sign * place)
        if bucket is not None:
            bucket.moved += 1
            if bucket.moved * 2 > len(bucket.calls):
                bucket.calls = [one for one in dict.fromkeys(bucket.calls) if one.timer_slot == place]
                bucket.moved = 0

    def take(self, before_minute: int) -> list[Call]:
        """Take everything that is due in the minutes before that one; it is nowhere then."""
        taken: list[Call] = []
        while self._minutes and self._minutes[0] < before_minute:
            minute = heapq.heappop(self._minutes)
            place = self._sign * minute
            for call in self._buckets.pop(minute).calls:
                if call.timer_slot == place:
                    call.timer_slot = 0
                    taken.append(call)
        return taken
