"""Turns: heavy work of several tasks, and what comes between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from streams.basics.slices import FREE_ITERATIONS, Slice, TimeSlices

LENGTH_MS = 10


class Clock:
    """Time as it is told to pass; the loop's own goes on as ever."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "perf_counter", lambda: self.now)

    def work(self, ms: float) -> None:
        """Be busy for so long, or a little more."""
        self.now += (ms + 0.001) / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only ``work`` moves."""
    return Clock(monkeypatch)


def all_of(*tasks: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends."""

    async def go() -> None:
        await asyncio.gather(*tasks)

    asyncio.run(go())


def test_a_question_is_answered_between_two_lengths_of_work_however_many_work(clock: Clock) -> None:
    """What takes ROUNDS rounds of the loop waits for one length, and not for one of each task."""
    turns, waited = TimeSlices(LENGTH_MS), []
    done = asyncio.Event()

    async def work() -> None:
        async with Slice(turns) as turn:
            for _ in range(40):
                clock.work(1)
                await turn.yield_if_used_up()

    async def working() -> None:
        await asyncio.gather(*(work() for _ in range(8)))
        done.set()

    async def ask() -> None:
        while not done.is_set():
            began = clock.now
            for _ in range(FREE_ITERATIONS):
                await asyncio.sleep(0)
            waited.append(round((clock.now - began) * 1000))

    all_of(working(), ask())
    assert sum(waited) == 8 * 40
    assert max(waited) == LENGTH_MS


def test_short_turns_in_one_round_of_the_loop_are_one_length_together(clock: Clock) -> None:
    """A turn each, of 4 ms: the third one still begins in time, the fourth waits for the next round."""
    turns, done, at = TimeSlices(LENGTH_MS), [], []

    async def work(name: int) -> None:
        async with Slice(turns):
            clock.work(4)
            done.append(name)

    async def watch() -> None:
        at.append(list(done))

    all_of(*(work(name) for name in range(5)), watch())
    assert at == [[0, 1, 2]]
    assert done == [0, 1, 2, 3, 4]


def test_whoever_waits_longest_is_next(clock: Clock) -> None:
    """Nobody has two turns while another waits for one."""
    turns, order = TimeSlices(LENGTH_MS), []

    async def work(name: str) -> None:
        async with Slice(turns) as turn:
            for _ in range(3):
                order.append(name)
                clock.work(LENGTH_MS)
                await turn.yield_if_used_up()

    all_of(work("a"), work("b"), work("c"))
    assert order == list("aabcabcbc")  # when the first one was over, the others had not come yet


@pytest.mark.parametrize("rounds", range(8))
def test_who_is_cancelled_while_it_waits_has_no_turn_to_give_back(clock: Clock, rounds: int) -> None:
    """Before the first one, between two, and while a round ends: the others go on, one at a time."""
    turns, busy, most, ended = TimeSlices(LENGTH_MS), [0], [0], []

    async def work(name: str) -> None:
        async with Slice(turns) as turn:
            for _ in range(6):
                busy[0] += 1
                most[0] = max(most[0], busy[0])
                clock.work(LENGTH_MS)
                busy[0] -= 1
                await turn.yield_if_used_up()
        ended.append(name)

    async def go() -> None:
        tasks = [asyncio.create_task(work(name)) for name in "abc"]
        for _ in range(rounds):
            await asyncio.sleep(0)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        await asyncio.wait_for(work("d"), 5)

    asyncio.run(go())
    assert ended == ["c", "d"]
    assert most == [1]
