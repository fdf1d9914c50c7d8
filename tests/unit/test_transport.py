"""The transport's own parts that need no broker."""

from __future__ import annotations

import asyncio
import time

from streams.transport import EMPTY_FETCH_S, paced


def test_a_broker_that_answers_at_once_is_not_asked_in_a_circle() -> None:
    """A fetch without records takes its time, and says what it is; so does one with records."""

    async def took(fetch_gets: bool) -> float:
        async def fetch(node: int) -> bool:
            return fetch_gets

        began = time.monotonic()
        assert await paced(fetch)(1) is fetch_gets
        return time.monotonic() - began

    assert asyncio.run(took(True)) >= 0
    assert asyncio.run(took(False)) >= EMPTY_FETCH_S - 0.001
