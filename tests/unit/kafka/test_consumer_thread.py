"""Fetches: one without records lasts at least a while, and one that fails leaves other partitions alone."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import TopicAuthorizationFailedError
from faust.types import TP

from streams.kafka.consumer_thread import EMPTY_FETCH_S, REFUSED_PAUSE_S, ConsumerThread, IdleFetches, at_least
from tests.support.fetch_results import fetched
from tests.support.record_batches import batch


def test_a_fetch_without_records_lasts_at_least_a_while() -> None:
    """It still returns that it has none; a fetch with records returns that it has some."""

    async def took(has_records: bool) -> float:
        async def fetch(node: int) -> bool:
            return has_records

        began = time.monotonic()
        assert await at_least(EMPTY_FETCH_S)(fetch)(1) is has_records
        return time.monotonic() - began

    assert asyncio.run(took(True)) >= 0
    assert asyncio.run(took(False)) >= EMPTY_FETCH_S - 0.001


def test_fetches_are_long_while_no_records_come_and_short_once_some_have() -> None:
    """Also when a partition was followed: its offsets are asked for on the connection that a long fetch would hold."""
    waits: list[int] = []
    has_records = [False, True, False, False]

    async def fetch() -> bool:
        return has_records.pop(0)

    async def run() -> None:
        idle = IdleFetches(waits.append, 50, 900, idle_after_s=0.0)
        paced = idle.wrap(fetch)
        for _ in range(3):
            await paced()
        idle.note_activity()
        await IdleFetches(waits.append, 50, 900, idle_after_s=60.0).wrap(fetch)()  # not idle for long enough

    asyncio.run(run())
    assert waits == [900, 50, 900, 50]


@pytest.mark.parametrize("where", ["in aiokafka's own pause", "in ours"])
def test_a_fetch_that_is_cancelled_has_no_records(where: str) -> None:
    """aiokafka awaits its cancelled fetches when it closes, and a CancelledError would break that off."""

    async def fetch() -> bool:
        if where == "in ours":
            return False
        await asyncio.sleep(10)
        return True

    async def cancelled() -> bool:
        task = asyncio.ensure_future(at_least(EMPTY_FETCH_S)(fetch)())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) is False


def test_a_partition_that_cannot_be_fetched_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Their batches are handed on; it is fetched again after a while, and logged once until it has been fetched."""
    bad, good = TP("events", 0), TP("events", 1)
    refused = FetchError(error=TopicAuthorizationFailedError("events"), backoff=0)
    fetched_again: list[TP] = []
    results: dict[TP, Any] = {}
    fetcher = SimpleNamespace(
        _subscriptions=SimpleNamespace(reassignment_in_progress=False, is_assigned=lambda _: True),
        _records=results,
        _wait_consume_future=None,
        _notify=lambda _: fetched_again.extend({bad, good} - results.keys()),
    )
    thread: Any = SimpleNamespace(
        consumer=SimpleNamespace(flow_active=True), log=logging.getLogger(__name__), _batch_ends={}, _unfetched={},
        _fetch_again_s={},
    )  # fmt: skip
    thread._log_unfetched = lambda tp, result: ConsumerThread._log_unfetched(thread, tp, result)

    def take(first: object) -> list[TP]:
        results.clear()
        results.update({bad: first, good: fetched(bytes(batch(0, [b"a"])), 0)})
        return list(ConsumerThread._take_batches(thread, fetcher, {bad, good}))

    with caplog.at_level(logging.ERROR):
        assert take(refused) == take(refused) == [good]
        assert bad not in fetched_again
        thread._fetch_again_s[bad] -= REFUSED_PAUSE_S
        assert take(refused) == [good]
        assert bad in fetched_again
        assert take(fetched(bytes(batch(0, [b"a"])), 0)) == [bad, good]
        assert take(refused) == [good]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all(
        line.startswith("partition 0 cannot be fetched, trying again: TopicAuthorizationFailed") for line in lines
    )
