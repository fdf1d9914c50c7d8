"""Replies: which are computed anew, which come from the cache, and how large the cache gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import streams.web.replies
from ecounters.query.request import Query, parse_request
from ecounters.windows.calendar import DAY_MS
from streams.access.sessions import Account
from streams.basics.slices import TimeSlices
from streams.engine.view import PartitionView
from streams.web.replies import Reply, ReplyCache
from tests.support.builders import Feed, call, ms

UTC = ZoneInfo("UTC")


class OnePartition:
    """A cache of replies over one partition, which has all users. The time is an hour after noon."""

    def __init__(self) -> None:
        self.feed = Feed().take(
            call("c1").started(0, "IBD", campaignId=7).answered(1).ended(9, 16),
            call("c2").started(1, "OBD").ended(9, 3),
        )
        self.replies = ReplyCache(400 * DAY_MS, TimeSlices(10))

    @property
    def view(self) -> PartitionView:
        """The partition of every user."""
        return PartitionView(self.feed.state, 0, True, asyncio.Lock(), lambda: self.view)

    def ask(self, zone: ZoneInfo = UTC, now_s: float = 3_600, **parameters: Any) -> Reply:
        """The reply to these parameters of a body."""
        content = json.dumps({"ssid": "s"} | parameters).encode()
        query = parse_request(content, series="interval" in parameters)
        return asyncio.run(self.replies.reply(self.view, Account("u1", zone), query, ms(now_s)))


QUERIES: list[dict[str, Any]] = [
    {},
    {"Field": ["UC"]},
    {"filter": [{"field": "campaignId", "value": 7}]},
    {"filter": [{"field": "campaignId", "value": 7, "op": "ne"}]},
    {"filter": [{"field": "date", "op": "lt", "value": ms(0)}]},
    {"interval": "15m"},
    {"interval": "1h"},
    {"interval": "1h", "zone": ZoneInfo("Asia/Kathmandu")},
    {"interval": "1h", "filter": [{"field": "campaignId", "value": 7}]},
]


def test_an_unchanged_user_is_not_counted_again() -> None:
    """Every query gets the very same bytes again, and new ones when a call changes that it counts."""
    partition = OnePartition()
    first = [partition.ask(**parameters) for parameters in QUERIES]
    assert len({reply.body for reply in first}) == len(QUERIES)
    assert all(partition.ask(**parameters).body is reply.body for parameters, reply in zip(QUERIES, first, strict=True))
    partition.feed.take(call("c3").started(5, "IBD", campaignId=7))
    then = [partition.ask(**parameters) for parameters in QUERIES]
    changed = [before.body != after.body for before, after in zip(first, then, strict=True)]
    assert changed == [True, True, True, False, True, True, True, True, True]


def test_today_moves_with_the_clock() -> None:
    """A cached reply whose range ends earlier is not used for a later one."""
    partition = OnePartition()
    first, later = partition.ask(interval="1h"), partition.ask(now_s=7_300, interval="1h")
    steps = [len(json.loads(reply.body)["message"]) for reply in (first, later)]
    assert steps == [14, 15]
    assert first.headers["X-Ecounters-Range"] == "2026-03-10T00:00:00.000Z/2026-03-10T14:00:00.000Z"
    assert partition.ask().headers["X-Ecounters-Range"] == "2026-03-10T00:00:00.000Z/2026-03-10T13:15:00.000Z"


def test_the_cache_has_a_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used body goes first."""
    partition = OnePartition()
    size = len(partition.ask(Field=["UC"]).body)
    monkeypatch.setattr(streams.web.replies, "CACHED_BYTES_MAX", 3 * size + 3)
    first = partition.ask(Field=["UC"])
    others = [partition.ask(Field=[field]) for field in ("CM", "PM")]
    assert partition.ask(Field=["UC"]).body is first.body
    partition.ask(Field=["CA"])
    assert partition.ask(Field=["UC"]).body is first.body
    assert partition.ask(Field=["PM"]).body is others[1].body
    assert partition.ask(Field=["CM"]).body is not others[0].body


def test_a_series_is_a_query_like_others() -> None:
    """An equal query, as another worker makes it of what was forwarded, gets the same bytes."""
    partition = OnePartition()
    query = parse_request(b'{"ssid":"s","interval":"1h","filter":[{"field":"callType","value":"IBD"}]}', series=True)
    again = Query(**{name: getattr(query, name) for name in Query.__slots__})
    reply = asyncio.run(partition.replies.reply(partition.view, Account("u1", UTC), query, ms(3_600)))
    second = asyncio.run(partition.replies.reply(partition.view, Account("u1", UTC), again, ms(3_600)))
    assert second.body is reply.body
    assert [step["message"]["TC"] for step in json.loads(reply.body)["message"]][-2:] == [1, 0]
