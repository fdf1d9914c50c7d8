"""Events that Kafka has deleted before they were counted, on Apache Kafka: replies for their time say so, for good."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN, add_users
from tests.support.builders import encoded, event
from tests.support.published_calls import publish_values, wait_for_counter
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

pytestmark = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker deletes no records when it is told to"
)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
MAX_CALL_MS = 60_000
FETCH_ENDS_S = 1.5
"""A broker holds a fetch for less than this."""


def delete_all(deployment: Deployment) -> None:
    """Let Kafka delete all events of u1's partition."""

    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        try:
            tp = TopicPartition(deployment.name, partition_of("u1", deployment.partitions))
            await admin.delete_records({tp: RecordsToDelete(before_offset=-1)})
        finally:
            await admin.close()

    asyncio.run(work())


def balance(at_ms: int, amount: int) -> bytes:
    """An event of u1 that moves the watermark."""
    return encoded(event("balance.updated", amount, "u1", ts=at_ms, balance=amount))


def is_complete(worker: Worker, begin_ms: int, end_ms: int) -> bool:
    """What a reply for a range says."""
    reply = worker.ask(
        {
            "userId": "u1",
            "token": TOKEN,
            "filter": [{"field": "date", "op": "between", "value": [begin_ms, end_ms]}],
        }
    )
    assert reply.status == 200, reply
    return reply.headers["X-Ecounters-Complete"] == "true"


@pytest.mark.parametrize("counted", [False, True])
def test_what_was_deleted_while_no_worker_ran_is_a_hole(deployment: Deployment, counted: bool) -> None:
    """Live counters are incomplete until lost ends are reaped, ranges that overlap the hole for ever; all survives
    restarts. Also if nothing had been counted before."""
    own = deployment.with_settings(MAX_CALL_MS=MAX_CALL_MS, SUSPECT_AFTER_MS=MAX_CALL_MS)
    add_users(own, ["u1"])
    now = int(time.time() * 1000)
    before, behind = now - 3 * HOUR_MS, now - 2 * HOUR_MS
    with Worker(own).wait_ready() as worker:
        if counted:
            publish_values(own, "u1", balance(before, 1))
            wait_for_counter(worker, "u1", "ucBl", 1)
            wait_until_flushed(own)
        assert is_complete(worker, before - HOUR_MS, now)
        worker.end()
    publish_values(own, "u1", *(balance(behind + at, 100 + at) for at in range(10)))
    delete_all(own)
    with Worker(own, replaces=worker).wait_ready() as worker:
        assert not is_complete(worker, now - HOUR_MS, now)
        assert worker.metric("ecounters_offsets_skipped_total") == 10
        assert worker.metric("ecounters_holes") == 1
        assert "were deleted by Kafka before they were counted" in worker.log.read_text()
        publish_values(own, "u1", balance(int(time.time() * 1000), 2))
        wait_for_counter(worker, "u1", "ucBl", 2)
        wait_until_flushed(own)
        worker.end()
    with Worker(own, replaces=worker).wait_ready() as worker:
        assert worker.metric("ecounters_holes") == 1
        today = int(time.time() * 1000)
        assert not is_complete(worker, before - HOUR_MS, before - HOUR_MS + MINUTE_MS)  # its live counters
        # The clock of the partition passes the time in which the end of a lost call is waited for.
        publish_values(own, "u1", balance(today + 2 * MAX_CALL_MS, 3))
        wait_for_counter(worker, "u1", "ucBl", 3)
        assert not is_complete(worker, before + MINUTE_MS, behind)
        assert not is_complete(worker, behind, today)
        if counted:
            assert is_complete(worker, before - 2 * HOUR_MS, before - HOUR_MS)
        wait_until_flushed(own)
        worker.end()
    with Worker(own, replaces=worker).wait_ready() as worker:
        assert not is_complete(worker, before + MINUTE_MS, behind)
        if counted:
            assert is_complete(worker, before - 2 * HOUR_MS, before - HOUR_MS)


def test_what_is_deleted_while_a_worker_is_too_slow_is_a_hole(deployment: Deployment) -> None:
    """It stands still while events come and are deleted, and goes on at the first one that is left."""
    add_users(deployment, ["u1"])
    now = int(time.time() * 1000)
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", balance(now, 1))
        wait_for_counter(worker, "u1", "ucBl", 1)
        assert is_complete(worker, now - HOUR_MS, now + MINUTE_MS)
        os.kill(worker.process.pid, signal.SIGSTOP)
        try:
            time.sleep(FETCH_ENDS_S)  # what the fetch that is under way returns would be counted
            publish_values(deployment, "u1", *(balance(now + at, 100 + at) for at in range(10)))
            delete_all(deployment)
        finally:
            os.kill(worker.process.pid, signal.SIGCONT)
        publish_values(deployment, "u1", balance(now + 20, 2))
        wait_for_counter(worker, "u1", "ucBl", 2)
        assert not is_complete(worker, now - HOUR_MS, now + MINUTE_MS)
        assert worker.metric("ecounters_offsets_skipped_total") == 10
        assert worker.metric("ecounters_holes") == 1
