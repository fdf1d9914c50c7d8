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
