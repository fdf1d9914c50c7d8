"""How a worker lets Python's garbage collector run."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from typing import Final

import pytest

from streams.basics.collector import collect_in_short_steps, leave_out_what_is_there

OPEN: Final = 1_000
"""Connections that are open at a time: each lives longer than it takes to become old for the collector."""
CLOSED: Final = 250_000


class Connection:
    """What refers to itself, so that only the garbage collector frees it. ``alive``: how many there are."""

    alive = 0

    def __init__(self) -> None:
        self.parts = [[self] for _ in range(30)]
        Connection.alive += 1

    def __del__(self) -> None:
        Connection.alive -= 1


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector of a worker: its thresholds, without the objects that are there at the start."""
    thresholds = gc.get_threshold()
    collect_in_short_steps()
    leave_out_what_is_there()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.collect()


@pytest.mark.usefixtures("collector")
def test_what_refers_to_itself_is_freed_also_once_it_is_old() -> None:
    """Connections with the tracebacks of their errors: without full collections they would stay for ever."""
    opened = deque[Connection](maxlen=OPEN)
    most = 0
    for _ in range(CLOSED):
        opened.append(Connection())
        most = max(most, Connection.alive)
    assert OPEN < most < CLOSED / 2
