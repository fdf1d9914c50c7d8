"""Heavy work of several tasks shares an event loop in slices, and leaves it free in between."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from aiohttp import web

from streams.basics.slices import FREE_ITERATIONS, Slice, TimeSlices

LENGTH_MS = 10


class Clock:
    """A performance counter that only ``work`` moves; the event loop has its own clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "perf_counter", lambda: self.now)

    def work(self, ms: float) -> None:
        """Be busy for ``ms``, and a little more."""
        self.now += (ms + 0.001) / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Take the place of ``time.perf_counter``."""
    return Clock(monkeypatch)


def all_of(*tasks: Coroutine[Any, Any, None]) -> None:
    """Run all tasks to their ends, beginning in this order."""

    async def run() -> None:
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_a_request_waits_for_one_slice_however_many_tasks_work(clock: Clock) -> None:
    """What takes FREE_ITERATIONS iterations of the loop waits for one slice, and not for one of each task."""
    slices, waited = TimeSlices(LENGTH_MS), []
    done = asyncio.Event()

    async def work() -> None:
        async with Slice(slices) as time_slice:
            for _ in range(40):
                clock.work(1)
                await time_slice.yield_if_used_up()

    async def working() -> None:
        await asyncio.gather(*(work() for _ in range(8)))
        done.set()

    async def request() -> None:
        while not done.is_set():
            began = clock.now
            for _ in range(FREE_ITERATIONS):
                await asyncio.sleep(0)
            waited.append(round((clock.now - began) * 1000))

    all_of(working(), request())
    assert sum(waited) == 8 * 40
    assert max(waited) == LENGTH_MS


def test_short_work_of_several_tasks_in_one_iteration_shares_a_slice(clock: Clock) -> None:
    """Of tasks of 4 ms each the third still begins within 10 ms; the fourth waits for the next slice."""
    slices, done, at = TimeSlices(LENGTH_MS), [], []

    async def work(name: int) -> None:
        async with Slice(slices):
            clock.work(4)
            done.append(name)

    async def watch() -> None:
        at.append(list(done))

    all_of(*(work(name) for name in range(5)), watch())
    assert at == [[0, 1, 2]]
    assert done == [0, 1, 2, 3, 4]


def test_the_task_that_waits_longest_is_next(clock: Clock) -> None:
    """No task has two slices while another waits for its first."""
    slices, order = TimeSlices(LENGTH_MS), []

    async def work(name: str) -> None:
        async with Slice(slices) as time_slice:
            for _ in range(3):
                order.append(name)
                clock.work(LENGTH_MS)
                await time_slice.yield_if_used_up()

    all_of(work("a"), work("b"), work("c"))
    assert order == list("aabcabcbc")  # when the first one was over, the others had not come yet


@pytest.mark.parametrize(("tasks", "order"), [("abC", "aCCCababb"), ("abCD", "aCDCDCDababb")])
def test_work_that_comes_first_has_its_slices_before_all_other_work(clock: Clock, tasks: str, order: str) -> None:
    """Alone, or in turns with another one. When the slice of a was over, the others had not come yet."""
    slices, done = TimeSlices(LENGTH_MS), []

    async def work(name: str) -> None:
        async with Slice(slices, first=name.isupper()) as time_slice:
            for _ in range(3):
                done.append(name)
                clock.work(LENGTH_MS)
                await time_slice.yield_if_used_up()

    all_of(*map(work, tasks))
    assert done == list(order)


@pytest.mark.parametrize("first", ["", "abc", "a", "c"])
@pytest.mark.parametrize("iterations", range(8))
def test_a_task_that_is_cancelled_while_it_waits_gives_back_no_slice(clock: Clock, iterations: int, first: str) -> None:
    """Whether it waits for its first slice or a later one: the other tasks go on, one at a time."""
    slices, busy, most, ended = TimeSlices(LENGTH_MS), [0], [0], []

    async def work(name: str) -> None:
        async with Slice(slices, first=name in first) as time_slice:
            for _ in range(6):
                busy[0] += 1
                most[0] = max(most[0], busy[0])
                clock.work(LENGTH_MS)
                busy[0] -= 1
                await time_slice.yield_if_used_up()
        ended.append(name)

    async def go() -> None:
        tasks = [asyncio.create_task(work(name)) for name in "abc"]
        for _ in range(iterations):
            await asyncio.sleep(0)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        await asyncio.wait_for(work("d"), 5)

    asyncio.run(go())
    assert ended == ["c", "d"]
    assert most == [1]


def test_a_request_that_is_read_after_a_slice_has_the_next_one(clock: Clock) -> None:
    """Its handler is called, and asks for its slice, in the free iterations: as aiohttp reads and handles requests."""
    slices, order = TimeSlices(LENGTH_MS), []

    async def handle(request: web.Request) -> web.Response:
        async with Slice(slices, first=True):
            order.append("request")
        return web.Response()

    async def work(name: str, client: socket.socket) -> None:
        async with Slice(slices) as time_slice:
            for step in range(3):
                order.append(name)
                if (name, step) == ("b", 1):
                    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")  # it is there when the slice is over
                clock.work(LENGTH_MS)
                await time_slice.yield_if_used_up()

    async def go() -> None:
        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with socket.create_connection(runner.addresses[0]) as client:
            # The connection is accepted in the free iterations before the second slice of b.
            await asyncio.gather(*(work(name, client) for name in "abc"))
        await runner.cleanup()

    asyncio.run(go())
    assert "".join(order).replace("request", "R") == "aabcabRcbc"
