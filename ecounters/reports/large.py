"""LargeReply: the body of a reply that is too large to be made at once, made in steps. The bytes are the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from ecounters.partition.user import User
from ecounters.query.conditions import Where
from ecounters.reports.parts import body_parts, message_parts, series_parts
from ecounters.reports.payload import KEYS, KEYS_WITHOUT_LIVE
from ecounters.reports.reading import STEP, Matches, Reading, batches, is_small, look_at
from ecounters.reports.series import from_to, series_bounds
from ecounters.windows.steps import INTERVALS

SMALL_STEPS: Final = 60
"""A series with at most about so many steps is made at once, if the account is small: in some 5 ms."""


def is_small_reply(user: User | None, time_range: tuple[int, int], interval: str | None) -> bool:
    """Whether a reply can be made at once: it takes some ms at most. The user's touched calls count too."""
    if interval is not None and time_range[1] - time_range[0] > SMALL_STEPS * INTERVALS[interval]:
        return False
    return is_small(user, *time_range)


class LargeReply:
    """One reply in the making. Take all steps of ``look_at``, ``read`` and ``parts`` in turn, each once.

    ``time_range``: [begin, end) in ms; bounds of windows. ``interval``: of a series; None for no series. ``begin`` and
    ``end``: the range that is counted; known after ``read``.
    """

    def __init__(
        self,
        time_range: tuple[int, int],
        where: Where | None,
        fields: Iterable[str],
        interval: str | None,
        zone: ZoneInfo,
    ) -> None:
        self.begin, self.end = time_range
        self._matches = Matches(where) if where is not None else None
        self._fields = tuple(fields)
        self._interval = interval
        self._zone = zone
        self._readings: deque[Reading] = deque()

    def look_at(self, user: User | None) -> Iterator[None]:
        """Evaluate the filter beforehand, so that ``read`` takes less time. The user may change between two steps."""
        if self._matches is not None:
            yield from look_at(user, self.begin, self.end, self._matches)

    def read(self, user: User | None) -> Iterator[None]:
        """Read what the reply counts. The user must be settled, and must not change before the last step.

        Raises RequestRefused as ``Series`` does.
        """
        if self._interval is None:
            reading = Reading(self.begin, self.end)
            yield from reading.read(user, self._matches, live=True)
            self._readings.append(reading)
            self.begin, self.end = reading.totals.begin, reading.totals.end
            return
        bounds = series_bounds(user, (self.begin, self.end), self._interval, self._zone)
        self.begin, self.end = bounds[0], bounds[-1]
        for begin, end in pairwise(bounds):
            reading = Reading(begin, end)
            yield from reading.read(user, self._matches, live=False)
            self._readings.append(reading)
            yield

    def parts(self) -> Iterator[bytes]:
        """Yield the body part by part; some parts are empty."""
        if self._interval is None:
            return body_parts(self._message(self._readings.popleft(), KEYS))
        return body_parts(series_parts(self._steps()))

    def _steps(self) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
        while self._readings:
            reading = self._readings.popleft()
            bounds = from_to(reading.begin, reading.end, self._zone)
            yield bounds, self._message(reading, KEYS_WITHOUT_LIVE)

    def _message(self, reading: Reading, keys: Iterable[str]) -> Iterator[bytes]:
        for _ in reading.add_up():
            yield b""
        yield from message_parts(reading.totals, (*keys, *self._fields))
        for _ in batches(reading.totals.emptying(), STEP):
            yield b""
