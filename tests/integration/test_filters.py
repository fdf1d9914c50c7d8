"""Filters and series over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ecounters.recount.recount import Recount
from ecounters.simulator.world import Plan
from streams.web.paths import SERIES_PATHS
from tests.support.accounts import TOKEN, add_users
from tests.support.builders import ALL_FIELDS
from tests.support.log_publisher import LogPublisher, first_messages, yesterday_ms
from tests.support.recount_check import settled_recounts
from tests.support.workers import PATH, Deployment, Worker

DAY_MS = 86_400_000
SERIES = SERIES_PATHS[0]
USERS = ("u1", "u2", "u3")

FILTERS: list[list[dict[str, Any]]] = [
    [],
    [{"field": "callType", "value": ["IBD", "CTC"]}],
    [{"field": "callType", "op": "nin", "value": ["IBD", "CTC"]}, {"field": "did", "op": "ne", "value": ""}],
    [{"field": "campaignId", "value": ""}],
    [{"or": [{"field": "status", "value": 16}, {"not": {"field": "campaignId", "op": "eq", "value": ""}}]}],
]


def request_body(user: str, conditions: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A request for a day and a half from yesterday's midnight on."""
    begin = yesterday_ms()
    date = {"field": "date", "op": "between", "value": [begin, begin + 3 * DAY_MS // 2]}
    return {"userId": user, "token": TOKEN, "Field": list(ALL_FIELDS), "filter": [*conditions, date], **more}


def test_filtered_replies_and_series_equal_the_recount(deployment: Deployment) -> None:
    """For each filter and user, the reply and every step of its series equal the recount of the calls that match."""
    add_users(deployment, USERS)
    with Worker(deployment).wait_ready() as worker:
        LogPublisher(
            deployment, first_messages(Plan(yesterday_ms(), seed=3, users=len(USERS), rate_per_s=0.5), 12_000), rate=0
        ).wait()
        by_user = {user: again for again in settled_recounts(deployment) for user in again.users() if user in USERS}
        assert set(by_user) == set(USERS)
        counted = [
            assert_series_recounted(worker, by_user[user], user, conditions) for user in USERS for conditions in FILTERS
        ]
        assert min(counted) > 0
        assert_wrong_filters_refused(worker)


def assert_series_recounted(worker: Worker, again: Recount, user: str, conditions: list[dict[str, Any]]) -> int:
    """Compare one reply and its series with the recount; returns the number of calls."""
    begin, end = yesterday_ms(), yesterday_ms() + 3 * DAY_MS // 2
    reply = worker.ask(request_body(user, conditions))
    expected = again.answer(user, begin, end, ALL_FIELDS, where=conditions)
    assert reply.json["message"] == expected, (user, conditions)
    for path in (SERIES, "/deepcall" + SERIES):
        series = worker.request("POST", path, request_body(user, conditions, interval="1h"))
        assert series.status == 200, series
    for step in series.json["message"]:
        since, until = (int(datetime.fromisoformat(step[name]).timestamp()) * 1000 for name in ("from", "to"))
        recounted = again.answer(user, since, until, ALL_FIELDS, where=conditions)
        assert step["message"] == {key: recounted[key] for key in step["message"]}, (user, conditions, step)
    assert len(series.json["message"]) == 36
    assert sum(step["message"]["TC"] for step in series.json["message"]) == expected["TC"]
    first, last = (datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") for at in (begin, end))
    assert reply.headers["X-Ecounters-Range"] == series.headers["X-Ecounters-Range"] == f"{first}/{last}"
    again_asked = worker.request(
        "POST", SERIES, request_body(user, conditions, interval="1h"), {"If-None-Match": series.headers["ETag"]}
    )
    assert again_asked.status == 304
    return int(str(expected["TC"]))


def assert_wrong_filters_refused(worker: Worker) -> None:
    """Assert that wrong filters get errors that name the place."""
    wrong: list[tuple[str, dict[str, Any], int, str]] = [
        (PATH, {"interval": "1h"}, 1000, 'unknown parameter "interval"'),
        (SERIES, {}, 1000, "interval is missing"),
        (SERIES, {"interval": "1m"}, 1000, 'interval "1m" is none of 15m, 1h, 1d'),
        (
            SERIES,
            {"interval": "15m", "filter": [{"field": "date", "value": "last30days"}]},
            1000,
            "interval 15m makes 2880 steps",
        ),
        (PATH, {"filter": [{"or": [{"field": "did", "op": "like", "value": 1}]}]}, 1000, 'filter[0].or[0].op "like"'),
        (PATH, {"filter": [{"field": "did", "value": None}]}, 1001, "filter[0].value must be"),
    ]
    for path, given, code, detail in wrong:
        reply = worker.request("POST", path, {"userId": "u1", "token": TOKEN, **given})
        assert (reply.status, reply.json["code"]) == (400, code), reply
        assert reply.json["message"].split(": ", 1)[1].startswith(detail), reply
    options = worker.request("OPTIONS", SERIES)
    assert options.status == 204
