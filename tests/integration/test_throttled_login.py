"""Many guesses at a time, against a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Sessions
from streams.access.throttle import Throttle, ThrottledLogin
from streams.settings.table import Settings
from tests.support.accounts import TOKEN, add_users
from tests.support.workers import Deployment

LIMIT = 5
GUESSES = 40


def test_guesses_at_a_time_learn_no_more_than_one_after_the_other(deployment: Deployment) -> None:
    """All are looked up before the first is counted; still only so many are told right from wrong."""
    add_users(deployment, ["guessed"])

    async def work() -> tuple[list[int], int]:
        sessions = Sessions.connect(deployment.redis_url, Settings().session_cache_s)
        door = ThrottledLogin(sessions, Throttle(LIMIT))

        async def told(token: str) -> int:
            try:
                await door.authorize(Query(user_id="guessed", token=token), "10.0.0.1")
            except RequestRefused as refused:
                return refused.http_status
            return 200

        try:
            guesses = [told(f"guess-{at}") for at in range(GUESSES)]
            return list(await asyncio.gather(*guesses)), await told(TOKEN)
        finally:
            await sessions.close()

    guesses, right = asyncio.run(work())
    assert Counter(guesses) == {403: LIMIT, 429: GUESSES - LIMIT}
    assert right == 429
