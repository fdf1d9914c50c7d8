"""The metrics of single accounts, as a real Prometheus gets them from two workers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from streams.web.paths import METRICS_PATH
from tests.support.accounts import TOKEN, add_users, erase
from tests.support.builders import encoded, event
from tests.support.prometheus import Prometheus, program
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.workers import Deployment, Worker

USERS: Final = ("u1", "u2", "u3", "u4", "u5", "u6")
UNTIL_S: Final = 20.0
OUTCOMES: Final = ("missed", "partly", "answered", "ghost")
KEYS: Final = {
    "calls_total": ("TC",),
    "answered_calls_total": ("CNC",),
    "missed_calls_total": ("MC",),
    "ghost_calls_total": ("GHC",),
    "transferred_calls_total": ("TRSC",),
    "retried_calls_total": ("FR_UC",),
    "retry_legs_total": ("FR_UC_N",),
    "ghost_retry_legs_total": ("FR_GH_N",),
    "live_calls": ("LCT",),
    "live_calls_by_campaign": ("RC",),
    "live_calls_by_did": ("LDID",),
    "balance": ("ucBl",),
    "call_balance": ("cBl",),
    **{f'retried_calls_total{{outcome="{how}"}}': (f"FR_{key}",)
       for how, key in zip(OUTCOMES, ("CM", "PM", "CA", "GH_UC"), strict=True)},
    'retry_legs_total{outcome=~"answered|partly"}': ("FR_CAN_FR_PM_N",),
}  # fmt: skip
"""Series after ``ecounters_account_`` -> the counter of a reply that their sum by account equals."""
RETRIES: Final = ("", "m", "a", "am", "g", "gm", "aa", "mm", "ga")
"""The retry legs of calls: a is answered, m missed, g ghost."""
T = TypeVar("T")


@pytest.fixture
def prometheus(deployment: Deployment, tmp_path: Path) -> Iterator[tuple[Prometheus, list[Worker]]]:
    """Prometheus at two workers, each of which has a part of the partitions."""
    program("prometheus")
    workers = [Worker(deployment.with_settings(METRICS_ACCOUNTS="*")).wait_ready() for _ in range(2)]
    with Prometheus(tmp_path / "prometheus", [worker.port for worker in workers]) as started:
        yield started, workers


def until(ask: Callable[[], T], is_right: Callable[[T], bool]) -> T:
    """Ask until it is right, and return that. AssertionError after UNTIL_S, with what came last."""
    deadline = time.monotonic() + UNTIL_S
    while not is_right(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def publish_calls(deployment: Deployment) -> None:
    """Calls of each user, of all outcomes and of several DIDs, with retries; some live; and balances."""
    for at, user in enumerate(USERS):
        calls = [RecentCall(f"{user}-{n}", user) for n in range(4 + at)]
        for n, call in enumerate(calls):
            call.started(0, "IBD", did=f"DID-{n % 3}", campaignId=n % 2 + 1)
            for leg, outcome in enumerate(RETRIES[n]):
                call.dialed(1, f"l{leg}", retry=1)
                if outcome != "g":
                    call.ringing(2, f"l{leg}", retry=1)
                if outcome == "a":
                    call.answered(3, f"l{leg}", retry=1).add("call.transferred", 4)
                call.leg_ended(5, f"l{leg}", retry=1)
            call.ended(30)
        live = RecentCall(f"{user}-live", user).started(0, "OBD", did=f"DID-{at}", campaignId=9)
        balance = {**event("balance.updated", 0, user, balance=at + 0.5, callBalance=at), "ts": int(time.time() * 1000)}
        values = [value for call in (*calls, live) for value in call.values()]
        publish_values(deployment, user, *values, encoded(balance))


def replied(worker: Worker, user: str) -> dict[str, Any]:
    """All counters of a user, of today."""
    fields = sorted({key for keys in KEYS.values() for key in keys if key.startswith("FR_")})
    reply = worker.ask({"userId": user, "token": TOKEN, "Field": fields})
    assert reply.status == 200, reply
    message: dict[str, Any] = reply.json["message"]
    return {key: sum(value.values()) if isinstance(value, dict) else value for key, value in message.items()}


def test_what_prometheus_adds_up_is_what_the_api_answers(
    deployment: Deployment, prometheus: tuple[Prometheus, list[Worker]]
) -> None:
    """Of each account, by one worker alone, also after that worker has ended; an erased account has no series."""
    scraping, workers = prometheus
    add_users(deployment, USERS)
    publish_calls(deployment)
    for at, user in enumerate(USERS):
        wait_for_counter(workers[0], user, "ucBl", at + 0.5)
    answers = {user: replied(workers[1], user) for user in USERS}
    for series, (key,) in KEYS.items():
        name, brace, labels = series.partition("{")
        query = f"sum by (account) (ecounters_account_{name}{brace}{labels})"
        expected = {(user,): float(answers[user][key]) for user in USERS}
        assert until(lambda: scraping.values(query), lambda found: found == expected), series  # noqa: B023
    assert [key for (key,) in KEYS.values() if not any(answers[user][key] for user in USERS)] == []
    owners = scraping.values("count by (account, instance) (ecounters_account_calls_total)")
    assert sorted(user for user, _ in owners) == sorted(USERS) and len({owner for _, owner in owners}) == 2

    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=workers[0].request("GET", METRICS_PATH).body,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

    workers[0].end()
    query = "sum by (account) (ecounters_account_calls_total)"
    expected = {(user,): float(answers[user]["TC"]) for user in USERS}
    until(lambda: scraping.values(query), lambda found: found == expected)
    assert erase(deployment, "u1", "--yes").returncode == 0
    assert until(lambda: scraping.values('count({account="u1"})'), lambda found: not found) == {}
    assert b'"u1"' not in workers[1].request("GET", METRICS_PATH).body
