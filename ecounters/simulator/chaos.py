"""Faults between a switch and the log: ``Chaos`` adds them to simulated events.

There are two kinds of faults. A worker with the default limits refuses no event because of disorder, delays up to
``lateness_ms``, duplicates, losses and a clock that is a little ahead. It refuses broken and far-ahead messages, and
late ones of calls that have no record, and a call.started with the id of a call that is over.
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
"""By default, a worker refuses an event of a call without a record as late if it is this far behind the watermark.
Delay and skew together stay below this, so that only the fault ``late`` makes an event late."""
LATENESS_MAX_MS: Final = LINGER_MS - MINUTE_MS
"""The largest ``lateness_ms``."""
SKEW_MAX_MS: Final = 4 * MINUTE_MS
"""How far the clock of a switch is ahead at most. It is below the 5 minutes that a worker accepts by default."""
FAR_AHEAD_MS: Final = (20 * 365 * DAY_MS, 40 * 365 * DAY_MS)
"""(least, most) ms that a far-ahead event is ahead: 20 to 40 years, but not beyond FAR_AHEAD_END_MS. So a worker also
refuses the event if it reads the log years later. If it accepted the event, the watermark would move far ahead."""
FAR_AHEAD_END_MS: Final = 4_102_444_799_999
"""The last ms before the year 2100. A later ``ts`` would be refused as bad_ts instead of clock_ahead."""

JITTER_MS: Final = 5_000
"""The longest jitter, if ``lateness_ms`` is not smaller. Most events are delayed by much less."""


@dataclass(frozen=True, slots=True)
class ChaosShares:
    """How often each fault occurs, from 0 (never) to 1 (always).

    ``lost_end``, ``skewed``, ``reused`` and ``erased`` are shares of calls, all others of events. An event has at most
    one of the first six faults; only an event without one of them can have ``lost_end`` or ``jitter``. Raises
    ValueError for impossible shares.
    """

    delayed: float = 0.04
    """The event is published up to ``lateness_ms`` after its time."""
    duplicated: float = 0.02
    """The event is published at its time, and the same bytes again up to ``lateness_ms`` later."""
    lost: float = 0.001
    """The event is never published."""
    broken: float = 0.001
    """The event is published, and a broken copy of it up to JITTER_MS later."""
    late: float = 0.0005
    """The event is published 16 to 60 minutes after its time. An event of a call is refused unless the call still has a
    record; a worker takes other events however late."""
    far_ahead: float = 0.0005
    """The event has a ``ts`` that is years ahead, and is refused."""
    lost_end: float = 0.01
    """Share of calls whose call.ended is never published, beside those that ``lost`` takes."""
    skewed: float = 0.005
    """Share of calls whose events have a ``ts`` that is up to SKEW_MAX_MS ahead. Each call draws its own skew, even on
    the same switch. A ``lateness_ms`` of 11 minutes or more lowers the bound: both together stay below LINGER_MS."""
    reused: float = 0.002
    """Share of calls that have the id of an earlier call of their user. If that is over and has a record, a worker
    refuses the call as call_id_reused."""
    erased: float = 0.003
    """Share of the calls of the last of several users that an account.erased of this user follows at once."""
    jitter: float = 1.0
    """Share of the events without one of the first six faults that are delayed by up to JITTER_MS, at most by
    ``lateness_ms``. Events of skewed calls are among them."""

    def __post_init__(self) -> None:
        """Raise ValueError for a share outside of [0, 1], and if the first six add up to more than 1."""
        of_events = (self.delayed, self.duplicated, self.lost, self.broken, self.late, self.far_ahead)
        if not all(0 <= share <= 1 for share in astuple(self)) or sum(of_events) > 1:
            raise ValueError(f"shares are from 0 to 1, and those of events not above 1 together: {self}")


class Chaos:
    """Adds faults to the events of calls, balances and switches.

    ``random``: returns numbers of [0, 1), the only source of chance. ``lateness_ms``: the longest delay that all faults
    but ``late`` give an event, from 0 to LATENESS_MAX_MS.
    """

    def __init__(self, random: Callable[[], float], lateness_ms: int, shares: ChaosShares) -> None:
        self._random = random
        self._lateness_ms = lateness_ms
        self._jitter_ms = min(JITTER_MS, lateness_ms)
        self._skew_max_ms = min(SKEW_MAX_MS, LINGER_MS - 1 - lateness_ms)
        self._shares = shares
        faults: tuple[tuple[float, Callable[[int, bytes], list[Timed]]], ...] = (
            (shares.delayed, self._delayed),
            (shares.duplicated, self._duplicated),
            (shares.lost, self._lost),
            (shares.broken, self._broken),
            (shares.late, self._late),
            (shares.far_ahead, self._far_ahead),
        )
        self._bounds = list(accumulate(share for share, _ in faults))
        self._faults = [fault for _, fault in faults]

    def skew_ms(self) -> int:
        """Draw the skew of a new call: by how many ms the ``ts`` of its events is ahead. It is mostly 0."""
        return self._up_to(self._skew_max_ms) if self._random() < self._shares.skewed else 0

    def reuses_id(self) -> bool:
        """Draw whether a new call has the id of an earlier one."""
        return self._random() < self._shares.reused

    def erases(self) -> bool:
        """Draw whether the account of a new call is erased right after the call's start."""
        return self._random() < self._shares.erased

    def disturb(self, events: list[Timed]) -> list[Timed]:
        """Add faults to events. Returns the messages to publish, sorted by time: some events may be lost or doubled."""
        random, jitter, faulty = self._random, self._jitter_ms, self._bounds[-1]
        jittered, lost_end = self._shares.jitter, self._shares.lost_end
        out: list[Timed] = []
        for at, value in events:
            chance = random()
            if chance < faulty:
                out += self._faults[bisect(self._bounds, chance)](at, value)
            elif lost_end and b'"type":"call.ended"' in value and random() < lost_end:
                pass
            elif random() < jittered:
                # random() ** 3 prefers small delays.
                out.append((at + int(random() ** 3 * jitter), value))
            else:
                out.append((at, value))
        out.sort()
        return out

    def _up_to(self, bound: int) -> int:
        """A random whole number from 0 to ``bound``."""
        return int(self._random() * (bound + 1))

    def _delayed(self, at: int, value: bytes) -> list[Timed]:
        return [(at + self._up_to(self._lateness_ms), value)]

    def _duplicated(self, at: int, value: bytes) -> list[Timed]:
        delay_max_ms = self._lateness_ms if self._random() < 0.5 else self._jitter_ms
        return [(at, value), (at + self._up_to(delay_max_ms), value)]

    def _lost(self, at: int, value: bytes) -> list[Timed]:
        return []

    def _late(self, at: int, value: bytes) -> list[Timed]:
        return [(at + LINGER_MS + MINUTE_MS + self._up_to(HOUR_MS - LINGER_MS - MINUTE_MS), value)]

    def _far_ahead(self, at: int, value: bytes) -> list[Timed]:
        nearest, farthest = FAR_AHEAD_MS
        ts = min(at + nearest + self._up_to(farthest - nearest), FAR_AHEAD_END_MS)
        return [(at, orjson.dumps({**orjson.loads(value), "ts": ts}))]

    def _broken(self, at: int, value: bytes) -> list[Timed]:
        break_event = BREAKS[int(self._random() * len(BREAKS))]
        return [(at, value), (at + self._up_to(self._jitter_ms), break_event(value))]


def _with_fields(**fields: Any) -> Callable[[bytes], bytes]:
    """A function that sets these fields in an event's JSON."""
    return lambda value: orjson.dumps({**orjson.loads(value), **fields})


BREAKS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda value: value[: len(value) // 2],
    lambda value: value.replace(b'"type"', b'"\xff\xfe"', 1),
    lambda value: b"[" + value + b"]",
    lambda value: b"null",
    _with_fields(type="call.sung"),
    _with_fields(type=None),
    _with_fields(type=7),
    _with_fields(id=""),
    _with_fields(id=17),
    _with_fields(ts=None),
    _with_fields(ts="yesterday"),
    _with_fields(ts=True),
    _with_fields(ts=1_790_000_000),  # seconds
)
"""Functions that break the JSON of an event, so that workers refuse it. None of them makes an empty message or a line
break, because a log in a file, with one message a line, could not hold those."""
