"""Everything that goes wrong between a switch and the log, in made-up events. Called by ``simulate``.

Two kinds of trouble. Disorder, delays up to ``lateness_ms``, duplicates, losses and a clock that is a little ahead
are what a log has to put up with: no event is refused for it. Broken, late and far-ahead messages are refused.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import accumulate
from typing import Any, Final

import orjson

from ecounters.simulator.script import Timed
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS

LINGER_MS: Final = 15 * MINUTE_MS
"""How far behind the watermark an event may be. Delay and skew together stay below it, so that nothing is late that
is not meant to be."""
LATENESS_MAX_MS: Final = LINGER_MS - MINUTE_MS
SKEW_MAX_MS: Final = 4 * MINUTE_MS
"""Of a clock that is a little ahead: below the 5 minutes that are let pass."""
FAR_AHEAD_MS: Final = (20 * 365 * DAY_MS, 40 * 365 * DAY_MS)
"""Years: a log that is replayed later is to have these refused too, not to have its watermark spoilt."""
FAR_AHEAD_END_MS: Final = 4_102_444_799_999
"""The last ms before the year 2100, beyond which a ts is not one that is ahead but a bad one."""

JITTER_MS: Final = 5_000
"""Every event is late by up to this much, most of them by a few ms."""


@dataclass(frozen=True, slots=True)
class ChaosShares:
    """How much of each trouble, each from 0 (never) to 1. Shares are of events, unless it says otherwise."""

    delayed: float = 0.04
    """Comes up to lateness_ms after its time."""
    duplicated: float = 0.02
    """Comes again, the same bytes, up to lateness_ms after its time."""
    lost: float = 0.001
    broken: float = 0.001
    """A message that is no event comes on top."""
    late: float = 0.0005
    """Comes 16 to 60 minutes after its time: refused, unless its call has a record."""
    far_ahead: float = 0.0005
    """Has a ts years ahead: refused."""
    lost_end: float = 0.01
    """Share of calls whose call.ended is never sent."""
    skewed: float = 0.005
    """Share of calls whose switch's clock is ahead by up to 4 minutes."""
    jitter: float = 1.0
    """Share of the remaining events that are out of order by a little."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no share."""
        of_events = (self.delayed, self.duplicated, self.lost, self.broken, self.late, self.far_ahead)
        if not all(0 <= share <= 1 for share in astuple(self)) or sum(of_events) > 1:
            raise ValueError(f"shares are from 0 to 1, and those of events not above 1 together: {self}")


class Chaos:
    """Disturbs events. ``random``: numbers of [0, 1); ``lateness_ms``: the bound of delays, 0..LATENESS_MAX_MS."""

    def __init__(self, random: Callable[[], float], lateness_ms: int, shares: ChaosShares) -> None:
        self._random = random
        self._lateness_ms = lateness_ms
        self._jitter_ms = min(JITTER_MS, lateness_ms)
        self._skew_max_ms = min(SKEW_MAX_MS, LINGER_MS - 1 - lateness_ms)
        self._shares = shares
        troubles: tuple[tuple[float, Callable[[int, bytes], list[Timed]]], ...] = (
            (shares.delayed, self._delayed),
            (shares.duplicated, self._duplicated),
            (shares.lost, self._lost),
            (shares.broken, self._with_a_broken_one),
            (shares.late, self._late),
            (shares.far_ahead, self._far_ahead),
        )
        self._bounds = list(accumulate(share for share, _ in troubles))
        self._troubles = [trouble for _, trouble in troubles]

    def skew_ms(self) -> int:
        """How far ahead the clock is that a call's events are timed by."""
        return self._up_to(self._skew_max_ms) if self._random() < self._shares.skewed else 0

    def disturb(self, events: list[Timed]) -> list[Timed]:
        """Events in the order of time -> what comes of them, in the order that it comes in."""
        random, jitter, troubled = self._random, self._jitter_ms, self._bounds[-1]
        jittered, lost_end = self._shares.jitter, self._shares.lost_end
        out: list[Timed] = []
        for at, value in events:
            chance = random()
            if chance < troubled:
                out += self._troubles[bisect(self._bounds, chance)](at, value)
            elif lost_end and b'"type":"call.ended"' in value and random() < lost_end:
                pass
            elif random() < jittered:
                # Cubed: mostly little.
                out.append((at + int(random() ** 3 * jitter), value))
            else:
                out.append((at, value))
        out.sort()
        return out

    def _up_to(self, bound: int) -> int:
        return int(self._random() * (bound + 1))

    def _delayed(self, at: int, value: bytes) -> list[Timed]:
        return [(at + self._up_to(self._lateness_ms), value)]

    def _duplicated(self, at: int, value: bytes) -> list[Timed]:
        again = self._lateness_ms if self._random() < 0.5 else self._jitter_ms
        return [(at, value), (at + self._up_to(again), value)]

    def _lost(self, at: int, value: bytes) -> list[Timed]:
        return []

    def _late(self, at: int, value: bytes) -> list[Timed]:
        return [(at + LINGER_MS + MINUTE_MS + self._up_to(HOUR_MS - LINGER_MS - MINUTE_MS), value)]

    def _far_ahead(self, at: int, value: bytes) -> list[Timed]:
        nearest, farthest = FAR_AHEAD_MS
        ts = min(at + nearest + self._up_to(farthest - nearest), FAR_AHEAD_END_MS)
        return [(at, orjson.dumps({**orjson.loads(value), "ts": ts}))]

    def _with_a_broken_one(self, at: int, value: bytes) -> list[Timed]:
        make = BREAKS[int(self._random() * len(BREAKS))]
        return [(at, value), (at + self._up_to(self._jitter_ms), make(value))]


def _having(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda value: orjson.dumps({**orjson.loads(value), **fields})


BREAKS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda value: value[: len(value) // 2],
    lambda value: value.replace(b'"type"', b'"\xff\xfe"', 1),
    lambda value: b"[" + value + b"]",
    lambda value: b"null",
    _having(type="call.sung"),
    _having(type=None),
    _having(type=7),
    _having(id=""),
    _having(id=17),
    _having(ts=None),
    _having(ts="yesterday"),
    _having(ts=True),
    _having(ts=1_790_000_000),  # seconds
)
"""Ways to break any event, so that it is refused. None of them makes an empty message or a line break: a log in a
file is to hold the same as one in Kafka."""
