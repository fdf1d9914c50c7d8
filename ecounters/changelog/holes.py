"""Holes: the times whose events Kafka deleted before they were counted. Counters of these times are too small.

    events    e1 e2 e3 | x4 x5 x6 x7 | e8 e9           x: deleted while no worker had read them
    times          10:00             10:07
    hole           [10:00 ..... 10:07]

A hole begins at the watermark, or at the start of a call that was live then: its end may have been among the deleted
events. It ends when Kafka appended the first event that is read after it; until that event comes it is open. It is
saved with the position until it is older than what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

OPEN: Final = 0
"""The end of a hole after which no event has been read yet."""
HOLES_MAX: Final = 50
"""So many holes are kept of a partition; of more, the oldest two become one."""


class Hole(msgspec.Struct, array_like=True, frozen=True):
    """``begin`` and ``end`` in ms since the Unix epoch, both inside; ``end`` is OPEN before the next event is read."""

    begin: int
    end: int


Holes = tuple[Hole, ...]
"""The holes of a partition, the oldest first. Only the last one can be open."""


def with_hole(holes: Holes, begin: int, kept_from: int) -> Holes:
    """The holes with one more, which is open. Those that ended before ``kept_from`` ms are left out."""
    kept = [hole for hole in holes if hole.end == OPEN or hole.end >= kept_from]
    while kept and (kept[-1].end == OPEN or kept[-1].end >= begin):  # they overlap
        begin = min(begin, kept.pop().begin)
    kept.append(Hole(begin, OPEN))
    if len(kept) > HOLES_MAX:
        kept[:2] = [Hole(kept[0].begin, kept[1].end)]
    return tuple(kept)


def closed(holes: Holes, end: int) -> Holes:
    """The holes with the last one ending at ``end`` ms, which must be open. An end before its begin is its begin."""
    last = holes[-1]
    return (*holes[:-1], Hole(last.begin, max(last.begin, end)))


def merged(of_partitions: Iterable[Holes]) -> Holes:
    """The holes of a partition to which users of several partitions are moved: each concerns some of its users."""
    found: list[Hole] = []
    for hole in sorted((hole for holes in of_partitions for hole in holes), key=lambda hole: hole.begin):
        last = found[-1] if found else None
        if last is not None and (last.end == OPEN or last.end >= hole.begin):
            end = OPEN if OPEN in (last.end, hole.end) else max(last.end, hole.end)
            found[-1] = Hole(last.begin, end)
        else:
            found.append(hole)
    return tuple(found)


def is_open(holes: Holes) -> bool:
    """Whether no event has been read yet since the last hole."""
    return bool(holes) and holes[-1].end == OPEN


def concern_live(holes: Holes, clock: int, max_call_ms: int) -> bool:
    """Whether the counters of live calls may be wrong at ``clock`` ms because of a hole.

    They may be until a call that was live in the hole, and whose end was deleted, is taken to have ended: that is
    ``max_call_ms`` after the hole.
    """
    return any(hole.end == OPEN or clock <= hole.end + max_call_ms for hole in holes)


def concern(holes: Iterable[Hole], begin: int, end: int) -> bool:
    """Whether events of [begin, end) ms may be among those that were deleted."""
    return any(hole.begin < end and (hole.end == OPEN or begin <= hole.end) for hole in holes)
