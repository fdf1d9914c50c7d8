"""A log of one partition that the recount reads, and what it counts."""

from __future__ import annotations

from typing import Any, Self

from ecounters.recount.call import Limits
from ecounters.recount.recount import Recount
from tests.support.builders import ALL_FIELDS, CallScript, Event, encoded

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S
EVERYTHING = (0, 4_000_000_000_000)


class Recounted:
    """The recount of a log that grows. Each event arrives when it happens, or with the timestamp that is given."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.recount = Recount(limits=limits)
        self._offset = 0

    def refused(self, *events: Event | CallScript | bytes, timestamp: int | None = None) -> list[tuple[str, str]]:
        """Read these events; returns (reason, field) of those that are refused. Bytes are a message as it is."""
        before = len(self.recount.refused)
        for given in events:
            for one in given.events if isinstance(given, CallScript) else [given]:
                value = one if isinstance(one, bytes) else encoded(one)
                stamp = timestamp if timestamp is not None else 4_000_000_000_000
                if timestamp is None and not isinstance(one, bytes):
                    stamp = one["ts"]
                self.recount.read([(self._offset, stamp, value)])
                self._offset += 1
        return [(reason, field) for _, reason, field in self.recount.refused[before:]]

    def take(self, *events: Event | CallScript | bytes, timestamp: int | None = None) -> Self:
        """Read these events. AssertionError if one is refused."""
        assert self.refused(*events, timestamp=timestamp) == []
        return self

    def counted(self, *keys: str, user: str = "u1") -> tuple[Any, ...]:
        """The values of these counters of a user."""
        reply = self.recount.answer(user, *EVERYTHING, ALL_FIELDS)
        return tuple(reply[key] for key in keys)


def recounted(*events: Event | CallScript | bytes, limits: Limits | None = None) -> Recounted:
    """The recount of a log of these events. AssertionError if one is refused."""
    return Recounted(limits).take(*events)
