"""Wheel: calls by the minute in which something is due for them.

Each call stands in one bucket, and is taken out when that is no longer its place: an ended call must not be
held in memory by a time limit of the live call that it was.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from ecounters.calls import Call
from ecounters.windows import MINUTE_MS

if TYPE_CHECKING:
    from ecounters.user import User


class Wheel:
    """Buckets of one minute. The caller keeps the minute that ``put`` returns, and gives it back to ``remove``."""

    __slots__ = ("_buckets", "_minutes")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Call, User]] = {}
        self._minutes: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def put(self, call: Call, user: User, due_ms: int) -> int:
        """Put a call into the bucket of due_ms; the bucket's minute."""
        minute = due_ms // MINUTE_MS
        bucket = self._buckets.get(minute)
        if bucket is None:
            bucket = self._buckets[minute] = {}
            heapq.heappush(self._minutes, minute)
        bucket[call] = user
        return minute

    def remove(self, call: Call, minute: int) -> None:
        """Take a call out of the bucket that ``put`` named."""
        bucket = self._buckets.get(minute)
        if bucket is not None:
            bucket.pop(call, None)

    def take(self, before_minute: int) -> list[tuple[Call, User]]:
        """Take everything out of the buckets of the minutes before that one."""
        taken: list[tuple[Call, User]] = []
        while self._minutes and self._minutes[0] < before_minute:
            taken += self._buckets.pop(heapq.heappop(self._minutes)).items()
        return taken
