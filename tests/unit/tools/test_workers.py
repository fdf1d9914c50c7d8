"""Queries of workers: repeated until one has read the log far enough, and given up where that cannot help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import cast

import aiohttp
import orjson
import pytest

from ecounters.errors import Stop
from streams.settings.table import Settings
from streams.tools import workers
from streams.tools.workers import CountersReply, Workers, http_client
from streams.web.paths import COUNTERS_PATHS

RANGE = "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z"


class Response:
    """A reply of a worker, as aiohttp would give it."""

    reason = "Service Unavailable"

    def __init__(self, status: int = 200, message: object = None, position: str = "3:10", lag_ms: str = "0") -> None:
        self.status = status
        self.headers = {"X-Ecounters-Position": position, "X-Ecounters-Range": RANGE, "X-Ecounters-Lag-Ms": lag_ms}
        self._body = orjson.dumps({"message": {"TC": 1} if message is None else message})

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def read(self) -> bytes:
        """The body."""
        return self._body


class Client:
    """An HTTP client whose replies are made by a function of the worker's address and the number of the request."""

    def __init__(self, reply: Callable[[str, int], Response]) -> None:
        self._reply = reply
        self.requested: list[str] = []

    def post(self, url: str, data: bytes) -> Response:
        """Send a request."""
        assert orjson.loads(data) == {"ssid": "s"}
        worker = url.removesuffix(COUNTERS_PATHS[0])
        self.requested.append(worker)
        return self._reply(worker, len(self.requested))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries, and a short limit."""
    monkeypatch.setattr(workers, "RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(workers, "NO_PROGRESS_LIMIT_S", 0.2)


def query(client: Client, *urls: str, min_position: int = 10) -> CountersReply:
    """Query an account of partition 3."""
    some = Workers(cast(aiohttp.ClientSession, client), urls or ["http://a"])
    return asyncio.run(some.query(3, min_position, {"ssid": "s"}))


def test_a_reply_says_what_it_holds_for() -> None:
    """Counters, range, position, and whether that is the end of the log."""
    reply = query(Client(lambda worker, nth: Response(position="3:12", lag_ms="0")))
    assert (reply.message, reply.position, reply.at_end) == ({"TC": 1}, 12, True)
    assert (reply.begin, reply.end) == (1_772_323_200_000, 1_772_409_600_000)
    assert reply.sent_ms <= reply.received_ms
    assert not query(Client(lambda worker, nth: Response(lag_ms="20"))).at_end


def test_a_query_is_repeated_until_the_position_is_reached() -> None:
    """Each request brings the worker one offset further, which is progress, however long it takes."""
    client = Client(lambda worker, nth: Response(position=f"3:{nth}"))
    assert query(client, min_position=40).position == 40
    assert len(client.requested) == 40


def test_a_worker_that_replied_well_is_tried_first_next_time() -> None:
    """The next query is likely of the same partition."""
    client = Client(lambda worker, nth: Response(503, "restoring") if worker == "http://a" else Response())
    some = Workers(cast(aiohttp.ClientSession, client), ["http://a", "http://b/"])

    async def twice() -> None:
        for _ in range(2):
            await some.query(3, 10, {"ssid": "s"})

    asyncio.run(twice())
    assert client.requested == ["http://a", "http://b", "http://b"]


def test_no_progress_ends_in_an_error_that_says_why() -> None:
    """The reason is the last one."""
    with pytest.raises(Stop, match=r"no answer .*http://a.* has read partition 3 up to offset 9, not 10"):
        query(Client(lambda worker, nth: Response(position="3:9")))
    with pytest.raises(Stop, match="restoring"):
        query(Client(lambda worker, nth: Response(503, "restoring")))


def test_a_wait_says_how_long_it_is_and_what_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At an address where no worker listens, with the address and no tuple of Python."""
    monkeypatch.setattr(workers, "NOTICE_AFTER_S", 0)

    async def ask() -> None:
        async with http_client(Settings()) as client:
            await Workers(client, ["http://127.0.0.1:1"]).query(3, 10, {"ssid": "s"})

    why = f"http://127.0.0.1:1{COUNTERS_PATHS[0]}: no connection can be made (connection refused)"
    with pytest.raises(Stop) as stop:
        asyncio.run(ask())
    assert str(stop.value).endswith(f": {why}")
    assert capsys.readouterr().err == f"waiting up to 0.2 s for an answer: {why}\n"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (Response(403, "Permission denied"), "answers 403: Permission denied"),
        (Response(position="4:10"), "has this user on partition 4, not 3"),
    ],
)
def test_what_repeating_cannot_change_ends_at_once(response: Response, why: str) -> None:
    """A refusal, or a worker of another topic."""
    client = Client(lambda worker, nth: response)
    with pytest.raises(Stop, match=why):
        query(client)
    assert len(client.requested) == 1
