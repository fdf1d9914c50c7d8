"""A cache of replies over one partition, and what befalls the partition meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

import streams.web.replies
from ecounters.query.request import parse_request
from ecounters.reports.large import LargeReply
from ecounters.windows.calendar import DAY_MS
from streams.access.sessions import Account
from streams.basics.slices import TimeSlices
from streams.engine.view import PartitionView
from streams.web.replies import Reply, ReplyCache
from tests.support.builders import CallScript, Event, Feed, call, ms

T = TypeVar("T")
UTC = ZoneInfo("UTC")
USERS = ("u1", "u2")


class OnePartition:
    """A cache of replies over one partition with the accounts of USERS. ``made``: the large replies that were begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.feed = Feed()
        for user in USERS:
            self.feed.take(*(call(f"c{n}", user).started(n, did=str(n)).dtmf(n + 1, str(n)) for n in range(20)))
        self.replies = ReplyCache(400 * DAY_MS, TimeSlices(0))
        self.lock = asyncio.Lock()
        self.owned = self.fresh = True
        self.made: list[str] = []

        def noted(*arguments: Any) -> LargeReply:
            large = LargeReply(*arguments)
            self.made.append("new")
            read, parts = large.read, large.parts

            def reading(user: Any) -> Iterator[None]:
                self.made.append(f"{user.id} read")
                yield from read(user)

            def rendering() -> Iterator[bytes]:
                self.made.append("parts")
                yield from parts()
                self.made.append("end")

            large.read, large.parts = reading, rendering  # type: ignore[method-assign]
            return large

        monkeypatch.setattr(streams.web.replies, "LargeReply", noted)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, in the event loop of this object."""
        return self.runner.run(coroutine)

    def ask(self, user: str = "u1", **parameters: Any) -> Coroutine[Any, Any, Reply]:
        """The reply to these parameters of a body, an hour after the calls."""
        content = json.dumps({"ssid": "s"} | parameters).encode()
        query = parse_request(content, series="interval" in parameters)
        view = self.view()
        assert view is not None
        return self.replies.reply(view, Account(user, UTC), query, ms(3_600))

    def view(self) -> PartitionView | None:
        """The partition as it is now; None once it is given up."""
        return PartitionView(self.feed.state, 0, self.fresh, self.lock, self.view) if self.owned else None

    async def take(self, *events: Event | CallScript) -> None:
        """Apply events as the engine does: while nobody reads."""
        async with self.lock:
            self.feed.take(*events)

    async def until(self, what: str, times: int = 1) -> None:
        """Let the others go on until that was noted so often."""
        async with asyncio.timeout(5):
            while self.made.count(what) < times:  # noqa: ASYNC110 - what is made goes on in between
                await asyncio.sleep(0)


async def replace(partition: OnePartition, feed: Feed | None) -> None:
    """Replace the state, by none if the partition is given up, and empty the old one once nobody holds the lock."""
    old = partition.feed.state
    if feed is None:
        partition.owned = False
    else:
        partition.feed = feed
    async with partition.lock:
        pass
    for _ in old.discarding():
        await asyncio.sleep(0)


def counters(reply: Reply) -> Any:
    """The message of a reply."""
    return json.loads(reply.body)["message"]
