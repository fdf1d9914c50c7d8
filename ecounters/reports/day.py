"""What an account's day adds up to, for dashboards: counters that only grow, and live calls. Read in steps.

    reading = DayReading(begin, end)            # the account's day, until now
    user.settle()
    yield from reading.read(user)               # nothing may change the account until this is at its end
    yield from reading.add_up()                 # the account may change again
    reading.counts, reading.values              # all is there

The steps are those of ``Reading``, some 0.1 ms each.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from ecounters.large_dict import LargeDict
from ecounters.partition.user import User
from ecounters.reports.reading import STEP, Reading, batches
from ecounters.reports.totals import Totals

CALL_KEYS: Final = ("TC", "CNC", "MC", "GHC", "TRSC")
"""The counters that rise as soon as a call is of that kind. Only a late correction takes one back."""
RETRY_KEYS: Final = (
    "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CM_N", "FR_PM_N", "FR_CA_N", "FR_GH_N",
)  # fmt: skip
"""The counters of ended calls alone: while a call lives, the next retry moves it from FR_CM to FR_PM."""
GHOST_RETRIES: Final = "FR_GH_UC_N"
"""The retry legs of the calls in FR_GH_UC: what is left of FR_UC_N. No reply has this one."""
SHOWN_DIMENSIONS: Final = ("type", "campaign", "did")
"""Those by which live calls are told. A counter of live calls has the same names for them as one of all calls."""


class LiveValues(NamedTuple):
    """Live calls by the values of a dimension. ``calls``: value -> live calls, 0 for one that had calls of this day.

    ``left_out``: how many further values there are, those with the fewest calls.
    """

    calls: dict[str, int]
    left_out: int


class DayReading:
    """The counters of one user over [begin, end) in ms, bounds of windows, and the live calls of now.

    counts                 key of CALL_KEYS and RETRY_KEYS, GHOST_RETRIES -> amount
    live                   live calls
    balance, call_balance  the last balances, 0 for none
    values                 dimension of SHOWN_DIMENSIONS -> its values, ``values_max`` at most

    Complete after all steps of ``read`` and ``add_up``.
    """

    __slots__ = ("_live_retries", "_reading", "_values_max", "counts", "live", "values")

    def __init__(self, begin: int, end: int, values_max: int) -> None:
        self._reading = Reading(begin, end)
        self._values_max = values_max
        self._live_retries: Counter[str] = Counter()
        self.counts: dict[str, int] = {}
        self.live = 0
        self.values: dict[str, LiveValues] = {}

    @property
    def balance(self) -> int | float:
        """The last ``balance``."""
        return self._reading.totals.balance

    @property
    def call_balance(self) -> int | float:
        """The last ``callBalance``."""
        return self._reading.totals.call_balance

    def read(self, user: User) -> Iterator[None]:
        """Copy what could change, of a user that is settled."""
        yield from self._reading.read(user, None, live=True)
        for numbers in batches(user.live.values(), STEP):
            self.live += sum(numbers)
            yield
        for span in list(user.spans.within(self._reading.begin, self._reading.end)):
            for cells in batches(span.cells.values(), STEP):
                for cell in cells:
                    if cell.dims.status is None and "FR_UC" in cell.counts:
                        self._live_retries.update({key: cell.counts.get(key, 0) for key in RETRY_KEYS})
                yield

    def add_up(self) -> Iterator[None]:
        """Add up what ``read`` has copied."""
        yield from self._reading.add_up()
        totals = self._reading.totals
        counts = totals.counts
        self.counts = {key: counts.get(key, 0) for key in CALL_KEYS}
        retries = {key: counts.get(key, 0) - self._live_retries[key] for key in RETRY_KEYS}
        of_others = retries["FR_CM_N"] + retries["FR_PM_N"] + retries["FR_CA_N"]
        self.counts |= {**retries, GHOST_RETRIES: retries["FR_UC_N"] - of_others}
        for dimension in SHOWN_DIMENSIONS:
            yield from self._choose_values(dimension, totals)

    def _choose_values(self, dimension: str, totals: Totals) -> Iterator[None]:
        """Find the values with the most calls, of this day and live, and count the others."""
        of_day, live = totals.calls_with_zeros(dimension), totals.live_by(dimension)
        chosen: list[tuple[int, str]] = []
        number = 0
        for table, known in ((of_day, LargeDict[str, int]()), (live, of_day)):
            for items in batches(table.items(), STEP):
                rows = [(-(of_day.get(value, 0) + live.get(value, 0)), value) for value, _ in items if value]
                rows = [row for row in rows if row[0] and not known.get(row[1])]
                number += len(rows)
                chosen = heapq.nsmallest(self._values_max, chosen + rows)
                yield
        calls = {value: live.get(value, 0) for _, value in sorted(chosen, key=lambda row: row[1])}
        self.values[dimension] = LiveValues(calls, number - len(chosen))
