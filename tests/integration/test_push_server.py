"""Push streams over a real server with replies that the test chooses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from ecounters.errors import RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.metrics.catalogue import Metrics
from streams.web.cookie import SessionCookie
from streams.web.push import PushStreams
from streams.web.replies import Reply
from streams.web.responses import middleware
from streams.web.subject import REFRESH_S

ACCOUNT = Account("u1", ZoneInfo("UTC"))
HEADERS = {
    "X-Ecounters-Lag-Ms": "0",
    "X-Ecounters-Complete": "true",
    "X-Ecounters-Suspected": "0",
    "X-Ecounters-Range": "a/b",
}
AWAY = RequestRefused(1032, "these counters are being moved", http_status=503)


class Served:
    """A server whose replies are ``now``: a body, or an exception to raise. ``gate`` delays the replies."""

    def __init__(self) -> None:
        self.now: bytes | Exception = b"{}"
        self.lag_ms = 0
        self.gate: asyncio.Event | None = None
        self.looks = 0
        self._metrics = Metrics.create(CollectorRegistry())
        self.streams = PushStreams(self.who, self.answer, SessionCookie(0), self._metrics)

    async def who(self, request: web.Request, query: Query) -> Account:
        """Authorize every request."""
        return ACCOUNT

    async def answer(self, account: Account, query: Query, now_ms: int) -> Reply:
        """The chosen reply."""
        self.looks += 1
        now = self.now
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(now, Exception):
            raise now
        return Reply(now, f'W/"{now.decode()}"', {**HEADERS, "X-Ecounters-Lag-Ms": str(self.lag_ms)})

    def run(self, test: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        """Run a test with a client of this server."""

        async def go() -> None:
            app = web.Application(middlewares=[middleware(self._metrics)])
            app.router.add_get("/", self.streams.stream)
            runner = web.AppRunner(app, shutdown_timeout=0.2)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            try:
                async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, asyncio.timeout(30):
                    await test(session)
            finally:
                self.streams.end()
                await runner.cleanup()

        asyncio.run(go())


async def read_event(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """The next event's name and data; two empty texts at the end."""
    name = ""
    while line := (await response.content.readline()).decode():
        if line.startswith("event: "):
            name = line[7:-1]
        if line.startswith("data: "):
            return name, line[6:-1]
    return "", ""


def test_listeners_stay_connected_while_there_is_no_reply() -> None:
    """Before a stream begins a missing reply is an error; later it is a status, until replies are there again."""
    served = Served()

    async def test(session: aiohttp.ClientSession) -> None:
        served.now = AWAY
        async with session.get("/?ssid=x") as refused:
            assert (refused.status, (await refused.json())["code"]) == (503, 1032)
            assert refused.headers["Retry-After"]
        served.now = b"1"
        async with session.get("/?ssid=x") as response:
            assert await read_event(response) == ("", "1")
            assert json.loads((await read_event(response))[1])["complete"] is True
            served.now = AWAY
            name, status = await read_event(response)
            assert (name, json.loads(status)) == (
                "status",
                {"asOf": None, "lagMs": 0, "complete": False, "suspected": 0, "range": "a/b", "why": AWAY.detail},
            )
            async with session.get("/?ssid=y") as late:
                assert late.status == 503
            served.now = b"2"
            assert await read_event(response) == ("", "2")
            name, status = await read_event(response)
            assert name == "status" and "why" not in json.loads(status)

    served.run(test)


@pytest.mark.parametrize(
    ("wrong", "code"), [(RequestRefused(1000, "counts are kept back to x"), 1000), (RuntimeError("x"), 1032)]
)
def test_a_refused_reply_ends_the_stream(wrong: Exception, code: int) -> None:
    """A refusal ends the stream with its error, and the next stream begins anew."""
    served = Served()

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get("/?ssid=x") as response:
            await read_event(response), await read_event(response)
            served.now = wrong
            name, error = await read_event(response)
            assert (name, json.loads(error)["code"]) == ("end", code)
            assert "RuntimeError" not in error
            assert await read_event(response) == ("", "")
        served.now = b"3"
        async with session.get("/?ssid=x") as response:
            assert await read_event(response) == ("", "3")

    served.run(test)


async def when(happens: Callable[[], bool]) -> None:
    """Wait until a condition holds. AssertionError if it takes too long."""
    for _ in range(1_000):
        if happens():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not happen")


def test_a_listener_that_joins_a_failing_look_gets_the_next_one() -> None:
    """A failing look ends the listeners that it was made for; one that joined meanwhile gets a look of its own."""
    served = Served()

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get("/?ssid=x") as first:
            await read_event(first), await read_event(first)
            looks, served.now, served.gate = served.looks, RuntimeError("x"), asyncio.Event()
            await when(lambda: served.looks > looks)
            joining = asyncio.create_task(session.get("/?ssid=y"))
            (subject,) = served.streams._subjects.values()
            await when(lambda: subject.references == 2)
            served.now = b"2"
            served.gate.set()
            assert (await read_event(first))[0] == "end"
        async with await joining as second:
            assert await read_event(second) == ("", "2")
            await read_event(second)
            served.now = b"3"
            assert await read_event(second) == ("", "3")

    served.run(test)


def test_listeners_with_the_same_query_share_one_look() -> None:
    """Thirty listeners with one query cost one look a second; another query costs another."""
    served = Served()

    async def test(session: aiohttp.ClientSession) -> None:
        responses = [await session.get(f"/?ssid={at}") for at in range(30)]
        began, served.now = served.looks, b"2"
        for response in responses:
            while (await read_event(response)) != ("", "2"):
                pass
        assert served.looks - began <= 2
        async with session.get("/?ssid=x&Field=UC") as response:
            await read_event(response)
            looks = served.looks
            await asyncio.sleep(2.5)
            assert served.looks - looks in (4, 5, 6)
        for response in responses:
            response.close()

    served.run(test)


def test_a_partition_that_is_behind_is_looked_at_less_often() -> None:
    """While a partition reads a backlog its subjects are looked at less often, then as often as before."""
    served = Served()
    served.lag_ms = 60_000

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get("/?ssid=x") as response:
            assert await read_event(response) == ("", "{}")
            looks, served.now, served.lag_ms = served.looks, b"2", 0
            await asyncio.sleep(1.8 * REFRESH_S)
            assert served.looks == looks
            await read_event(response)
            assert await read_event(response) == ("", "2")
            await asyncio.sleep(2 * REFRESH_S + 0.5)
            assert served.looks > looks + 2

    served.run(test)


def test_a_server_that_ends_accepts_no_listeners() -> None:
    """Its listeners are let go, and new ones are sent to another worker."""
    served = Served()

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get("/?ssid=x") as response:
            await read_event(response), await read_event(response)
            served.streams.end()
            assert await read_event(response) == ("", "")
        async with session.get("/?ssid=x") as response:
            assert response.status == 503

    served.run(test)
