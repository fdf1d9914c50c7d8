"""Producers' transactions: what was aborted or is open is not counted, in any reader of the topic of events."""

from __future__ import annotations

import os
import time

import pytest

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited, ran
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import wait_until_flushed
from tests.support.transactions import die_in_transaction, publish_transaction, take_over
from tests.support.workers import Deployment, Worker

CALLS = 20
TIMEOUT_MS = 15_000
ABORTED_LIMIT_S = 60.0

pytestmark = pytest.mark.usefixtures("no_users")


def calls(prefix: str, count: int = CALLS) -> list[bytes]:
    """The events of so many answered calls of u1."""
    return [
        value
        for at in range(count)
        for value in RecentCall(f"{prefix}{at}", "u1").started(0, "IBD").ringing(1).answered(2).ended(9, 3).values()
    ]


def assert_equal_everywhere(deployment: Deployment, worker: Worker, total: int) -> None:
    """The worker, a worker that restores its state, the audit and explain have so many calls."""
    assert worker.ask({"userId": "u1", "token": TOKEN}).json["message"]["TC"] == total
    exit_code, lines, err = audited(deployment, worker)
    assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (lines, err)
    exit_code, lines, err = ran(deployment, "explain", "--user", "u1", "--counter", "TC")
    assert (exit_code, len(lines)) == (0, total), (lines, err)
    assert f"TC of u1 is {total}, of {total} calls" in err


def test_what_a_producer_aborts_is_not_counted(deployment: Deployment) -> None:
    """20 calls aborted, one committed, 20 aborted: one is counted, and the position is behind all markers."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        publish_transaction(deployment, "u1", *calls("a"), commit=False)
        publish_transaction(deployment, "u1", *calls("c", 1), commit=True)
        publish_transaction(deployment, "u1", *calls("b"), commit=False)
        wait_until_flushed(deployment)  # to the very end of the log
        wait_for_counter(worker, "u1", "TC", 1)
        assert_equal_everywhere(deployment, worker, 1)
        assert worker.metric("ecounters_offsets_skipped_total") == 2 * 4 * CALLS + 3
        assert "hold no event" not in worker.log_tail()
    with Worker(deployment, replaces=worker).wait_ready() as worker:
        assert_equal_everywhere(deployment, worker, 1)


def test_an_open_transaction_holds_up_only_what_is_behind_it(deployment: Deployment) -> None:
    """While it is open, nothing of it is counted and replies are complete; once it is aborted, the rest counts."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(STALE_AFTER_MS=2_000)).wait_ready() as worker:
        publish_values(deployment, "u1", *calls("c", 1))
        wait_for_counter(worker, "u1", "TC", 1)
        transactional_id = die_in_transaction(deployment, "u1", *calls("a"), timeout_ms=TIMEOUT_MS)
        died = time.monotonic()
        publish_values(deployment, "u1", *calls("d", 1))
        while time.monotonic() - died < TIMEOUT_MS / 3_000:
            reply = worker.ask({"userId": "u1", "token": TOKEN})
            assert (reply.status, reply.json["message"]["TC"]) == (200, 1), reply
            assert (reply.headers["X-Ecounters-Complete"], reply.headers["X-Ecounters-Lag-Ms"]) == ("true", "0"), reply
            assert worker.why_not_settled() == ""
            time.sleep(0.2)
        assert reply.headers["X-Ecounters-Position"] == f"{partition_of('u1', deployment.partitions)}:4"
        assert_equal_everywhere(deployment, worker, 1)
        if not os.environ.get("ECOUNTERS_TEST_BROKER"):  # the embedded broker knows no timeout of transactions
            take_over(deployment, transactional_id)
        deadline = time.monotonic() + ABORTED_LIMIT_S
        while worker.ask({"userId": "u1", "token": TOKEN}).json["message"]["TC"] == 1:
            assert time.monotonic() < deadline, worker.log_tail()
            time.sleep(0.2)
        wait_until_flushed(deployment)
        assert_equal_everywhere(deployment, worker, 2)
