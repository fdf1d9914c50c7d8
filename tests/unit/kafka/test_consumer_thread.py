"""A fetch without records lasts at least a while, so that a broker that replies at once is not flooded."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.kafka.consumer_thread import EMPTY_FETCH_S, at_least


def test_a_fetch_without_records_lasts_at_least_a_while() -> None:
    """It still returns that it has none; a fetch with records returns that it has some."""

    async def took(has_records: bool) -> float:
        async def fetch(node: int) -> bool:
            return has_records

        began = time.monotonic()
        assert await at_least(EMPTY_FETCH_S)(fetch)(1) is has_records
        return time.monotonic() - began

    assert asyncio.run(took(True)) >= 0
    assert asyncio.run(took(False)) >= EMPTY_FETCH_S - 0.001


@pytest.mark.parametrize("where", ["in aiokafka's own pause", "in ours"])
def test_a_fetch_that_is_cancelled_has_no_records(where: str) -> None:
    """aiokafka awaits its cancelled fetches when it closes, and a CancelledError would break that off."""

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
