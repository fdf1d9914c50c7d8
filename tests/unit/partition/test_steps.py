"""Bounded steps: what is long in all is done in steps that hold up the event loop for a short time only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from ecounters.changelog.entries import Entry
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.windows.calendar import WINDOW_MS, window_of
from ecounters.windows.dims import Dims
from ecounters.windows.units import MC, TC
from streams.engine.applying import CALLS_PER_STEP
from streams.engine.flushing import ENTRIES_PER_STEP
from tests.support.builders import T0_MS, Feed, call, event, ms
from tests.support.spans import count_call
from tests.support.steps import STEP_MAX, Steps, longest_step

MANY: Final = 100_000
DAY: Final = 86_400.0


def aged(state: PartitionState, days: float) -> None:
    """Move the watermark on by an event of another account."""
    record = event("balance.updated", days * DAY, "ticker", balance=0)
    Feed.take(_around(state), record)


def _around(state: PartitionState) -> Feed:
    feed = Feed()
    feed.state = state
    state.position = 0
    return feed


def account(*, cells: int = 0, slots: int = 0, numbers: int = 0) -> tuple[PartitionState, User]:
    """A state whose account u1 has counted cells, one of them with many input slots, and telephone numbers."""
    feed = Feed().take(call().started(0).ended(60))
    state, user = feed.state, feed.state.users["u1"]
    spans, window = user.spans, window_of(T0_MS)
    for n in range(cells):
        cell = spans.cell(window + n % 20 * WINDOW_MS, Dims("IBD", "", str(n), 16))
        count_call(spans, cell, TC | MC, ("ringTime", 9))
    for n in range(slots):
        count_call(spans, spans.cell(window, Dims("IBD", "", "", 3)), TC, (f"DTMF/{n}", 1))
    for n in range(numbers):
        user.numbers[f"+1555{n}"] = ms(0)
    return state, user


@pytest.mark.parametrize("what", ["cells", "slots"])
def test_no_step_of_a_roll_up_and_its_flush_is_long(what: str) -> None:
    """100,000 cells, or as many input slots of one cell: rolled up, and written in the flush after that."""

    def once(steps: Steps) -> None:
        state, user = account(**{what: MANY})
        steps.run(state.take_changes(), ENTRIES_PER_STEP)
        aged(state, 4)
        steps.run(state.rolling_up("u1", ZoneInfo("UTC")))
        assert not user.spans.windows and len(user.spans.days) <= 2
        steps.run(state.take_changes(), ENTRIES_PER_STEP)

    assert longest_step(once) < STEP_MAX


@pytest.mark.parametrize("what", ["cells", "slots", "numbers"])
def test_no_step_of_forgetting_and_its_flush_is_long(what: str) -> None:
    """200,000 numbers or 100,000 cells that are due at once, and their tombstones."""

    def once(steps: Steps) -> None:
        state, user = account(**{what: 2 * MANY if what == "numbers" else MANY})
        list(state.take_changes())
        aged(state, 401)
        steps.run(state.advancing(0, at_end=False), CALLS_PER_STEP)
        assert not (user.spans.windows or user.numbers)
        entries = 0

        def counted() -> Iterator[Entry]:
            nonlocal entries
            for entry in state.take_changes():
                entries += 1
                yield entry

        steps.run(counted(), ENTRIES_PER_STEP)
        assert entries > MANY

    assert longest_step(once) < STEP_MAX


def test_no_step_of_settling_is_long() -> None:
    """Calls with as many DTMF inputs as a call keeps, all of which move to another cell: a restart ends the calls."""

    def once(steps: Steps) -> None:
        feed = Feed()
        for n in range(60):
            script = call(f"c{n}").started(0, switchId="s")
            for number in range(1_000):
                script.dtmf(1, f"{number}")
            feed.take(script)
        list(feed.state.take_changes())
        feed.take(event("switch.restarted", 2, switchId="s"))
        steps.run(feed.state.users["u1"].settling())
        assert feed.answer()["DTMF"] == {str(n): 60 for n in range(1_000)}

    assert longest_step(once) < STEP_MAX
