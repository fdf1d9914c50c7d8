"""Which calls are behind a counter: those in its range that add to one of its names."""

from __future__ import annotations

from ecounters.recount.call import WINDOW
from ecounters.recount.counters import AVERAGES, KEYS, MAPS, SUMS


def is_inside(start: int, begin_ms: int, end_ms: int) -> bool:
    """Whether the ts of a start lies in [begin_ms, end_ms), widened to whole windows."""
    return begin_ms // WINDOW * WINDOW <= start < -(-end_ms // WINDOW) * WINDOW


def names_behind(key: str) -> tuple[str, ...]:
    """The counters or entries behind ``key``: it counts a call that adds to at least one of them.

    For an average that is its time alone. Raises ValueError if ``key`` is neither a counter nor an entry of a map.
    """
    counter = key.partition("/")[0]
    if counter not in KEYS or (counter != key and counter not in MAPS):
        raise ValueError(f"{key} is no counter and no entry of one")
    return SUMS.get(key) or AVERAGES.get(key, (key,))[:1]


def has(adds: list[tuple[str, int]], names: tuple[str, ...]) -> bool:
    """Whether a call adds to one of ``names``: a counter, an entry of a map, or a map, meaning any of its entries."""
    return any(name == wanted or name.partition("/")[0] == wanted for name, _ in adds for wanted in names)
