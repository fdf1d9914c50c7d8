"""The transport's own parts that need no broker."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from streams.transport import EMPTY_FETCH_S, paced


def test_a_broker_that_answers_at_once_is_not_asked_in_a_circle() -> None:
    """A fetch without records takes its time; one with records is handed on as it comes."""
    asked: list[float] = []

    async def main() -> None:
        answers = iter([True, False, False, True])

        async def fetch(node: int) -> bool:
            asked.append(time.monotonic())
            return next(answers)

        slow = paced(fetch)
        assert [await slow(1) for _ in range(4)] == [True, False, False, True]

    asyncio.run(main())
    gaps = [after - before for before, after in pairwise(asked)]
    assert min(gaps[1:]) >= EMPTY_FETCH_S
