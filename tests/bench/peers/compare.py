"""The log that all engines count, its recount, and how an engine's counters differ from it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ecounters.events.partitioner import partition_of
from ecounters.recount.recount import Recount
from ecounters.simulator.world import Plan, simulate
from streams.kafka.publisher import Outgoing
from tests.bench.peers.counting import WINDOW_MS
from tests.bench.peers.job import END
from tests.support.log_publisher import yesterday_ms

COUNTERS: Final = ("TC", "CT", "CMPID", "DID", "CST", "CNC", "MC", "GHC", "DTMF", "LCT")
"""What every engine counts. LCT is of now, all others are of the 15 minutes in which the call started."""
USERS: Final = 50
CALLS_PER_S: Final = 200.0
BEFORE_MS: Final = 30_000
"""The log begins so long before the end of a window, so that its calls are in two windows."""

Values = dict[tuple[str, str], int]
"""(cell, counter) -> n, without zeros. The cell is "user|window", for LCT "user". Of a map each entry is a counter."""


class Difference(NamedTuple):
    """How many counters differ from the recount, of how many, and the sum of the absolute differences."""

    wrong: int
    of: int
    by: int

    def __str__(self) -> str:
        return f"{self.wrong:,} (by {self.by:,})" if self.wrong else "0"


def log(events: int) -> Iterator[Outgoing]:
    """The first messages of the simulated log: no chaos, no restarts of switches, so that a simple join is right."""
    plan = Plan(
        yesterday_ms() + WINDOW_MS - BEFORE_MS,
        seed=1,
        users=USERS,
        rate_per_s=CALLS_PER_S,
        day_shape=False,
        restarts=False,
    )
    for one in itertools.islice(simulate(plan), events):
        yield Outgoing(one.value, one.user_id, False, None)


def end_marks(partitions: int) -> Iterator[Outgoing]:
    """An end mark for each partition, each of a user of its own."""
    free = set(range(partitions))
    for at in itertools.count():
        user_id = f"end-{at}"
        if partition_of(user_id, partitions) in free:
            free.remove(partition_of(user_id, partitions))
            mark = {"id": END, "type": "balance.updated", "ts": yesterday_ms(), "userId": user_id, "balance": 0}
            yield Outgoing(json.dumps(mark).encode(), user_id, False, None)
        if not free:
            return


def recounted(messages: Iterable[Outgoing]) -> Values:
    """What the recount counts of a log."""
    recount = Recount()
    recount.read((offset, 0, message.value) for offset, message in enumerate(messages))
    assert not recount.refused, recount.refused[:3]
    values: Values = {}
    for user in recount.users():
        for window in range(yesterday_ms(), recount.watermark + 1, WINDOW_MS):
            values |= of_answer(user, window, recount.answer(user, window, window + WINDOW_MS))
    return values


def of_answer(user: str, window: int, answer: Mapping[str, Any]) -> Values:
    """The values in an answer for a user and a window, whose LCT is that of all windows."""
    values: Values = {}
    for key in COUNTERS:
        entries = answer[key]
        cell = user if key == "LCT" else f"{user}|{window}"
        if isinstance(entries, dict):
            values |= {(cell, f"{key}/{name}"): n for name, n in entries.items()}
        elif entries:
            values[cell, key] = entries
    return values


def of_cells(cells: Mapping[str, Mapping[str, int]]) -> Values:
    """The values in an engine's cells: "user|window" -> counter -> n."""
    values: Values = {}
    for cell, counters in cells.items():
        for name, n in counters.items():
            key = (cell.rpartition("|")[0] if name.startswith("LCT/") else cell), name
            values[key] = values.get(key, 0) + n
    return {key: n for key, n in values.items() if n}


def difference(expected: Values, found: Values) -> Difference:
    """Compare an engine's values with those of the recount."""
    apart = [abs(expected.get(key, 0) - found.get(key, 0)) for key in expected.keys() | found.keys()]
    return Difference(sum(map(bool, apart)), len(expected), sum(apart))
