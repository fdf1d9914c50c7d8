"""A stranger's flood of wrong sessions, and many good requests at once, against a real Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.accounts import Accounts
from streams.access.look_ups import BATCH_MAX, Command, LookUps
from streams.access.sessions import Sessions
from tests.support.accounts import noon_zone
from tests.support.sessions import run_with_sessions
from tests.support.workers import PATH, Deployment, Worker

STRANGERS = 60
"""Wrong requests that are under way all the time."""
GOOD = 2_000
USERS = 20
"""The good sessions are of so many users: a user has a bounded number of them."""
WITHIN_S = 2.0
COMMANDS = 3
"""The most commands that a request sends, one after the other: the session, its time, the user."""
BATCHES_MAX = COMMANDS * ((GOOD + STRANGERS) // BATCH_MAX + 2)
"""The most batches that are sent while one request waits, even if all good requests come at once: for each of its
commands those that wait before it, the one under way, and its own."""


async def open_sessions(accounts: Accounts, prefix: str) -> list[str]:
    """GOOD sessions, the same number for each of USERS new users."""
    users = [f"{prefix}-{at}" for at in range(USERS)]
    for user in users:
        await accounts.add_user(user, noon_zone())
    return [await accounts.open_session(users[at % USERS], 600) for at in range(GOOD)]


def test_a_strangers_flood_refuses_no_good_request(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 first requests within 2 s beside 60 wrong ones at a time: all are authorized, and each in its turn.

    A wait is counted in batches, as their time is that of the machine.
    """
    wrong: Counter[int] = Counter()
    sent = 0
    execute = LookUps._execute

    async def counting(self: LookUps, commands: Sequence[Command]) -> list[Any]:
        nonlocal sent
        sent += 1
        return await execute(self, commands)

    monkeypatch.setattr(LookUps, "_execute", counting)

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        ssids = await open_sessions(accounts, user)

        async def guess(stranger: int) -> None:
            for at in itertools.count():
                with pytest.raises(RequestRefused) as refused:
                    await sessions.authorize(Query(ssid=f"wrong-{stranger}-{at}"))
                wrong[refused.value.code] += 1
                await asyncio.sleep(0)  # a refusal without a look-up would not let the others run

        async def ask(at: int, ssid: str) -> int:
            await asyncio.sleep(WITHIN_S * at / GOOD)
            before = sent
            await sessions.authorize(Query(ssid=ssid))
            return sent - before

        strangers = [asyncio.create_task(guess(at)) for at in range(STRANGERS)]
        waits = await asyncio.gather(*(ask(at, ssid) for at, ssid in enumerate(ssids)))
        for task in strangers:
            task.cancel()
        assert max(waits) <= BATCHES_MAX

    run_with_sessions(redis_url, test)
    assert set(wrong) == {1015}
    assert wrong[1015] > STRANGERS


def test_many_requests_with_one_session_ask_redis_once(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand that come together read the session and its time once, and those of one user read the user once."""
    asked: list[Command] = []
    execute = LookUps._execute

    async def counting(self: LookUps, commands: Sequence[Command]) -> list[Any]:
        asked.extend(commands)
        return await execute(self, commands)

    monkeypatch.setattr(LookUps, "_execute", counting)

    async def test(sessions: Sessions, accounts: Accounts, user: str) -> None:
        await accounts.add_user(user, "UTC")
        one = await accounts.open_session(user, 60)
        others = [await accounts.open_session(user, 60) for _ in range(50)]
        for ssids, look_ups in (([one] * 1_000, 3), (others, 101)):
            asked.clear()
            await asyncio.gather(*(sessions.authorize(Query(ssid=ssid)) for ssid in ssids))
            assert len(asked) == look_ups

    run_with_sessions(redis_url, test)


def test_a_flood_over_http_gets_no_good_client_a_503(deployment: Deployment) -> None:
    """2,000 clients that come again at once, while strangers guess from changing addresses: each gets its counters."""
    with Worker(deployment.with_settings(PROXIES=1)).wait_ready() as worker:
        statuses = asyncio.run(_flood(deployment, worker))
    assert statuses["good"] == {200: GOOD}
    assert set(statuses["wrong"]) == {403}


async def _flood(deployment: Deployment, worker: Worker) -> dict[str, Counter[int]]:
    """The statuses of GOOD good requests and of the wrong ones beside them."""
    accounts = Accounts.connect(deployment.loaded())
    try:
        ssids = await open_sessions(accounts, deployment.name)
    finally:
        await accounts.close()
    statuses: dict[str, Counter[int]] = {"good": Counter(), "wrong": Counter()}
    addresses = (f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}" for at in itertools.count())
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{worker.port}", connector=connector) as client:

        async def ask(kind: str, ssid: str) -> None:
            body, headers = {"ssid": ssid}, {"X-Forwarded-For": next(addresses)}
            async with client.post(PATH, json=body, headers=headers) as response:
                await response.read()
                statuses[kind][response.status] += 1

        async def guess(stranger: int) -> None:
            for at in itertools.count():
                await ask("wrong", f"wrong-{stranger}-{at}")

        async def come(at: int, ssid: str) -> None:
            await asyncio.sleep(WITHIN_S * at / GOOD)
            await ask("good", ssid)

        strangers = [asyncio.create_task(guess(at)) for at in range(STRANGERS)]
        await asyncio.gather(*(come(at, ssid) for at, ssid in enumerate(ssids)))
        for task in strangers:
            task.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
    return statuses
