"""What the consumer's thread does without a broker: how often it fetches when nothing comes."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.kafka.consumer_thread import EMPTY_FETCH_S, at_least


def test_a_broker_that_answers_at_once_is_not_asked_in_a_circle() -> None:
    """A fetch without records takes its time, and says what it is; so does one with records."""

    async def took(fetch_gets: bool) -> float:
        async def fetch(node: int) -> bool:
            return fetch_gets

        began = time.monotonic()
        assert await at_least(EMPTY_FETCH_S)(fetch)(1) is fetch_gets
        return time.monotonic() - began

    assert asyncio.run(took(True)) >= 0
    assert asyncio.run(took(False)) >= EMPTY_FETCH_S - 0.001


@pytest.mark.parametrize("where", ["in aiokafka's own pause", "in ours"])
def test_a_fetch_that_is_cancelled_has_got_nothing(where: str) -> None:
    """aiokafka waits for that answer when it is closed, and would break off its end for anything else."""

    async def fetch() -> bool:
        if where == "in ours":
            return False
        await asyncio.sleep(10)
        return True

    async def cancelled() -> bool:
        task = asyncio.ensure_future(at_least(EMPTY_FETCH_S)(fetch)())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) is False
