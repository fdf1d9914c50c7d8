"""When a partition begins to answer after a restore, and what becomes of a state that was handed out."""

from __future__ import annotations

import asyncio

import pytest

from streams.engine import partition as module
from tests.support.engine_fakes import PARTITION, USER, PartitionFixture, balances, batch, new_fixture, on_live


def test_a_restored_partition_answers_once_the_owner_before_knows() -> None:
    """Both would answer otherwise, and the one before would show fewer calls than this one."""

    async def run() -> None:
        fixture = new_fixture(position=7)
        fixture.handover.shown = [9]  # the one before has shown two events that it could not flush
        fixture.partition.start()
        await fixture.until(lambda: fixture.handover.announced)
        assert not fixture.partition.status.answering
        await fixture.partition.apply_batch(batch(7, balances(7, 3)))
        await fixture.until(lambda: fixture.partition.status.answering)
        assert fixture.handover.announced == [(PARTITION, 7), (PARTITION, 10)]
        await fixture.partition.release()
        assert not fixture.partition.status.answering

    asyncio.run(run())


def test_a_partition_that_is_restored_amid_a_rebalance_does_not_take_over_the_answers() -> None:
    """It may be lost by the rebalance, and whoever had answered so far would not any more."""

    async def run() -> None:
        fixture = new_fixture(position=7)
        status = fixture.partition.status
        status.frozen = True
        fixture.partition.start()
        await fixture.until(lambda: status.live)
        for _ in range(3):
            await asyncio.sleep(0)
        assert (fixture.handover.announced, status.answering) == ([], False)
        status.frozen = False
        await fixture.until(lambda: status.answering)
        await fixture.partition.release()

    asyncio.run(run())


def test_an_unexpected_error_of_a_handover_ends_the_worker() -> None:
    """The partition would be counted, and nobody would ever answer for it."""

    async def run() -> None:
        fixture = new_fixture()
        fixture.handover.fail = RuntimeError("a mistake of ours")
        fixture.partition.start()
        await fixture.until(lambda: fixture.failed)
        assert fixture.failed == [fixture.handover.fail]
        await fixture.partition.release()

    asyncio.run(run())


def test_no_time_passes_in_a_frozen_partition() -> None:
    """The clock may be due in the moment in which a rebalance begins: the next owner restores the state without it."""

    async def work(fixture: PartitionFixture) -> None:
        status = fixture.partition.status
        fixture.events.end = 3
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        before = fixture.state.clock
        async with status.state_lock:  # the periodic flush waits for it
            status.following = False
            await fixture.until(lambda: status.following)
            status.frozen = True
        await fixture.until(lambda: status.flushed_offset == 3)
        assert fixture.state.clock == before

    on_live(work, interval_ms=10)


def test_a_restored_partition_does_not_wait_for_ever_for_what_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events may be gone: the owner before is not waited for then."""
    monkeypatch.setattr(module, "ANSWER_LIMIT_S", 0.2)

    async def run() -> None:
        fixture = new_fixture(position=7)
        fixture.handover.shown = [9]
        fixture.partition.start()
        await fixture.until(lambda: fixture.partition.status.answering)
        assert fixture.handover.announced == [(PARTITION, 7), (PARTITION, 9)]
        await fixture.partition.release()

    asyncio.run(run())


def test_a_state_that_was_handed_out_is_neither_flushed_nor_emptied() -> None:
    """Somebody answers from it, while the next owner writes to the changelog."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        writer, state = fixture.writer, fixture.partition.hand_out_state()
        assert not await fixture.partition.flush(always=True)
        await fixture.partition.release()
        assert writer.written == []
        assert state is not None and USER in state.users

    on_live(work)
