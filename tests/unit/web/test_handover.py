"""Who may say that a partition was taken, and who is waited for: real requests between a worker and others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from ecounters.query.request import BODY_BYTES_MAX
from streams.basics.times import now_ms
from streams.engine.table import StateTable
from streams.engine.view import GroupDirectory
from streams.metrics.catalogue import Metrics
from streams.web import handover as module
from streams.web.handover import Handover, Taken, TakenReply
from streams.web.paths import TAKEN_PATH
from streams.web.peer_client import PeerClient
from streams.web.responses import middleware
from streams.web.signing import REQUEST_SIGNATURE, request_signature

SECRET = "the group's"
TAKEN = Taken(3, 7, 5, "http://next", 0, "n")


class FakeTable:
    """Notes what is handed over; it has shown ``shown``."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, int, int, str]] = []
        self.shown = 0
        self.kept = SimpleNamespace(get=lambda partition: None, drop_later=lambda partition: None)

    def hand_over(self, partition: int, position: int, generation: int, successor: str) -> int:
        """Notes it."""
        self.noted.append((partition, position, generation, successor))
        return self.shown


@asynccontextmanager
async def worker(
    table: FakeTable, holders: list[str], stopping: bool = False
) -> AsyncIterator[tuple[Handover, str, PeerClient]]:
    """(a worker's handover, its URL, its client); ``holders`` had partition 3 before."""
    directory = SimpleNamespace(generation=5, url="http://next", holders_of=lambda partition: holders)
    metrics = Metrics.create(CollectorRegistry())
    client = PeerClient(lambda: SECRET, metrics)
    handover = Handover(cast(StateTable, table), cast(GroupDirectory, directory), client, lambda: stopping)
    app = web.Application(middlewares=[middleware(metrics)], client_max_size=BODY_BYTES_MAX)
    app.router.add_post(TAKEN_PATH, handover.hear)
    async with TestServer(app) as server:
        yield handover, str(server.make_url("")).rstrip("/"), client
        await client.close()


def content(**changes: Any) -> bytes:
    """The body of a message of now."""
    return msgspec.json.encode(msgspec.structs.replace(TAKEN, at=now_ms(), **changes))


@pytest.mark.parametrize(
    ("what", "body", "signature", "status"),
    [
        ("no signature", content, lambda body: "", 403),
        ("another secret", content, lambda body: request_signature("another", body), 403),
        ("an empty secret", content, lambda body: request_signature("", body), 403),
        ("another body's signature", content, lambda body: request_signature(SECRET, content(position=8)), 403),
        ("not ASCII", content, lambda body: "é" * 64, 403),
        ("too large", lambda: bytes(BODY_BYTES_MAX + 1), lambda body: request_signature(SECRET, body), 413),
        ("signed, but no message", lambda: b"[" * 9, lambda body: request_signature(SECRET, body), 400),
        ("a request of the other path", lambda: b'{"userId":"u"}', lambda body: request_signature(SECRET, body), 400),
        ("of yesterday", lambda: msgspec.json.encode(TAKEN), lambda body: request_signature(SECRET, body), 403),
    ],
)  # fmt: skip
def test_a_stranger_hands_nothing_over(
    what: str, body: Callable[[], bytes], signature: Callable[[bytes], str], status: int
) -> None:
    """Whoever reaches the port could else make a worker stop to answer."""

    async def run() -> None:
        table = FakeTable()
        async with worker(table, []) as (_, url, _), aiohttp.ClientSession() as session:
            sent = body()
            headers = {REQUEST_SIGNATURE: signature(sent)}
            async with session.post(url + TAKEN_PATH, data=sent, headers=headers) as response:
                assert (response.status, table.noted) == (status, []), what

    asyncio.run(run())


@pytest.mark.parametrize("stopping", [False, True])
def test_a_message_of_the_group_is_heard(stopping: bool) -> None:
    """The reply is signed, and says how far this worker has shown, and whether it stays."""

    async def run() -> None:
        table = FakeTable()
        table.shown = 9
        async with worker(table, [], stopping) as (_, url, client):
            reply = await client.ask(url, TAKEN_PATH, content())
            assert reply is not None and msgspec.json.decode(reply.body, type=TakenReply) == TakenReply(9, not stopping)
            assert table.noted == [(3, 7, 5, "http://next")]

    asyncio.run(run())


async def hang(request: web.Request) -> web.Response:
    """A worker that was stopped amid its reply."""
    await asyncio.sleep(3600)
    return web.Response()


async def unknown(request: web.Request) -> web.Response:
    """A worker of a release that has no such path."""
    return web.Response(status=404)


async def stranger(request: web.Request) -> web.Response:
    """Somebody who has got the address of a worker, and signs nothing."""
    return web.Response(body=msgspec.json.encode(TakenReply(2**62)))


@pytest.mark.parametrize("other", [hang, unknown, stranger])
def test_only_a_worker_that_replies_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, other: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    """One that had the partition and hangs, is of another release, or is none: it does not keep the owner from it."""
    monkeypatch.setattr(module, "ANNOUNCE_LIMIT_S", 0.1)

    async def run() -> None:
        table = FakeTable()
        table.shown = 9
        app = web.Application()
        app.router.add_post(TAKEN_PATH, other)
        async with TestServer(app) as server, worker(table, []) as (_, url, _):
            bad = str(server.make_url("")).rstrip("/")
            async with worker(table, [bad]) as (handover, _, _), asyncio.timeout(5):
                assert await handover.announce(3, 7) == 0
            async with worker(table, [bad, url]) as (handover, _, _), asyncio.timeout(5):
                assert await handover.announce(3, 7) == 9

    asyncio.run(run())
