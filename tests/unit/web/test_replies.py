"""Answers: which are made anew, which are kept, and how much is."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import streams.web.replies
from ecounters.query.request import Query, parse_request
from ecounters.windows.calendar import DAY_MS
from streams.access.sessions import Account
from streams.engine.view import PartitionView
from streams.web.replies import Reply, ReplyCache
from tests.support.builders import Feed, call, ms

UTC = ZoneInfo("UTC")


class Here:
    """One partition that is here, and what is asked of it an hour after noon."""

    def __init__(self) -> None:
        self.feed = Feed().take(
            call("c1").started(0, "IBD", campaignId=7).answered(1).ended(9, 16),
            call("c2").started(1, "OBD").ended(9, 3),
        )
        self.replies = ReplyCache(400 * DAY_MS)

    @property
    def view(self) -> PartitionView:
        """The partition of every user."""
        return PartitionView(self.feed.state, 0, True)

    def ask(self, zone: ZoneInfo = UTC, now_s: float = 3_600, **given: Any) -> Reply:
        """The answer to what is given."""
        content = json.dumps({"ssid": "s"} | given).encode()
        request = parse_request(content, series="interval" in given)
        return self.replies.reply(self.view, Account("u1", zone), request, ms(now_s))


ASKED: list[dict[str, Any]] = [
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
    """Whatever is asked for: the very same bytes, each its own; and new ones when something changes."""
    here = Here()
    first = [here.ask(**given) for given in ASKED]
    assert len({answer.body for answer in first}) == len(ASKED)
    assert all(here.ask(**given).body is one.body for given, one in zip(ASKED, first, strict=True))
    here.feed.take(call("c3").started(5, "IBD", campaignId=7))
    then = [here.ask(**given) for given in ASKED]
    changed = [one.body != other.body for one, other in zip(first, then, strict=True)]
    assert changed == [True, True, True, False, True, True, True, True, True]


def test_today_moves_with_the_clock() -> None:
    """What was kept of a range that ends sooner is not what is told later."""
    here = Here()
    first, later = here.ask(interval="1h"), here.ask(now_s=7_300, interval="1h")
    steps = [len(json.loads(answer.body)["message"]) for answer in (first, later)]
    assert steps == [14, 15]
    assert first.headers["X-Ecounters-Range"] == "2026-03-10T00:00:00.000Z/2026-03-10T14:00:00.000Z"
    assert here.ask().headers["X-Ecounters-Range"] == "2026-03-10T00:00:00.000Z/2026-03-10T13:15:00.000Z"


def test_what_is_kept_has_a_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first; what is asked for again is not the oldest."""
    here = Here()
    size = len(here.ask(Field=["UC"]).body)
    monkeypatch.setattr(streams.web.replies, "CACHED_BYTES_MAX", 3 * size + 3)
    one = here.ask(Field=["UC"])
    others = [here.ask(Field=[field]) for field in ("CM", "PM")]
    assert here.ask(Field=["UC"]).body is one.body
    here.ask(Field=["CA"])
    assert here.ask(Field=["UC"]).body is one.body
    assert here.ask(Field=["PM"]).body is others[1].body
    assert here.ask(Field=["CM"]).body is not others[0].body


def test_a_series_is_a_request_like_others() -> None:
    """By the router as by the route: what is forwarded is answered in the same bytes."""
    here = Here()
    request = parse_request(b'{"ssid":"s","interval":"1h","filter":[{"field":"callType","value":"IBD"}]}', series=True)
    again = Query(**{name: getattr(request, name) for name in Query.__slots__})
    told = here.replies.reply(here.view, Account("u1", UTC), request, ms(3_600))
    assert here.replies.reply(here.view, Account("u1", UTC), again, ms(3_600)).body is told.body
    assert [step["message"]["TC"] for step in json.loads(told.body)["message"]][-2:] == [1, 0]
