"""The table: which offsets are committed, the flush before a revoke, and partitions that come and go."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from faust.types import TP

from streams.app import build
from streams.engine import kept
from streams.engine import table as module
from streams.engine.table import StateTable
from streams.engine.view import GroupDirectory
from streams.kafka.group import Assignor
from streams.settings.table import Settings
from tests.support.engine_fakes import (
    LOG,
    PARTITION,
    PARTITIONS,
    USER,
    PartitionFixture,
    balances,
    batch,
    live_fixture,
    new_fixture,
)

pytestmark = pytest.mark.usefixtures("short_grace")

TP_OF_EVENTS = TP(Settings().topic, PARTITION)
TP_OF_FIXTURE = TP("events", PARTITION)
"""For tables that were configured with the context of a fixture."""


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that another worker has taken is emptied soon."""
    monkeypatch.setattr(kept, "GRACE_S", 0.05)


def table_with(fixture: PartitionFixture) -> StateTable:
    """A worker's table that owns the partition; nothing of the worker is started."""
    table = build(Settings(advertise="127.0.0.1:1"), LOG).table
    table.owned[PARTITION] = fixture.partition
    return table


def test_flushed_offsets_are_committed_once() -> None:
    """Offsets differ from those committed last, or are left out; a partition without events has none to commit."""

    async def run() -> None:
        fixture = new_fixture()
        table, status = table_with(fixture), fixture.partition.status
        assert table.to_commit() == {}
        status.flushed_offset = 5
        assert table.to_commit() == {TP_OF_EVENTS: 5}
        table.committed({TP_OF_EVENTS: 5, TP(Settings().topic, 3): 9})
        assert table.to_commit() == {}
        status.flushed_offset = 0  # the topic was made anew
        assert table.to_commit() == {TP_OF_EVENTS: 0}

    asyncio.run(run())


def test_a_lost_batch_lets_its_partition_be_read_again() -> None:
    """A batch of a partition that is not owned any more is nobody's loss here."""

    async def run() -> None:
        fixture = new_fixture()
        table = table_with(fixture)
        table.lost(TP(Settings().topic, 3))
        assert fixture.partition.status.following
        table.lost(TP_OF_EVENTS)
        assert not fixture.partition.status.following

    asyncio.run(run())


def test_batches_go_to_their_partitions() -> None:
    """One of a partition that was released meanwhile is ignored."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            await table.apply_batch(3, batch(0, balances(0, 2)))
            assert fixture.state.position == 0
            await table.apply_batch(PARTITION, batch(0, balances(0, 2)))
            assert fixture.state.position == 2

    asyncio.run(run())


def test_before_a_revoke_everything_is_flushed() -> None:
    """What was counted is in the changelog, and its offset can be committed, while the partition is still owned."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            await table.apply_batch(PARTITION, batch(0, balances(0, 2)))
            await table.flush_before_revoke()
            assert len(fixture.writer.written) == 1
            assert table.to_commit() == {TP_OF_EVENTS: 2}

    asyncio.run(run())


def test_a_flush_before_a_revoke_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole group waits meanwhile; the flush itself goes on, and what it does not save is read again."""
    monkeypatch.setattr(module, "REVOKE_FLUSH_S", 0.01)

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            await table.apply_batch(PARTITION, batch(0, balances(0, 2)))
            async with fixture.partition.status.state_lock:
                await table.flush_before_revoke()
                assert fixture.partition.status.flushed_offset == 0
            await fixture.until(lambda: fixture.partition.status.flushed_offset == 2)

    asyncio.run(run())


def test_ownership_is_proved_by_writing() -> None:
    """Even without changes: a writer that was fenced meanwhile fails then, and not at the next event."""

    async def run() -> None:
        async with live_fixture() as fixture:
            await table_with(fixture).prove_ownership()
            assert len(fixture.writer.written) == 1

    asyncio.run(run())


def test_partitions_that_are_not_assigned_any_more_are_released() -> None:
    """The others stay as they are: nothing of them is restored again."""

    async def run() -> None:
        async with live_fixture() as staying, live_fixture() as going:
            table = table_with(staying)
            table.owned[PARTITION + 1] = going.partition
            state = staying.state
            await table.on_rebalance({TP_OF_EVENTS, TP("another", 2)}, set(), set())
            assert list(table.owned) == [PARTITION]
            assert (going.partition.status.state, going.changelog.closed) == (None, 1)
            assert (staying.state, staying.changelog.closed) == (state, 0)

    asyncio.run(run())


def test_at_the_end_all_are_flushed_and_released() -> None:
    """An orderly end loses nothing: the changes are written before the state is forgotten."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            await table.apply_batch(PARTITION, batch(0, balances(0, 2)))
            writer = fixture.writer
            await table.on_stop()
            assert (len(writer.written), fixture.partition.status.state) == (1, None)

    asyncio.run(run())


def test_an_unexpected_error_of_a_late_flush_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for that flush any more, and its error would only be a line of asyncio's in the log."""
    monkeypatch.setattr(module, "REVOKE_FLUSH_S", 0.01)

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            await table.apply_batch(PARTITION, batch(0, balances(0, 2)))
            fixture.writer.fail = RuntimeError("a mistake of ours")
            table.configure(fixture.context, no_zone)
            async with fixture.partition.status.state_lock:
                await table.flush_before_revoke()
            await fixture.until(lambda: fixture.failed)

    asyncio.run(run())


def holders_of(table: StateTable) -> dict[int, list[str]]:
    """Who has a state of a partition that moves, as this worker knows it from the group's leader."""
    return cast(Assignor, table.app.assignor).holders


async def no_zone(user_id: str) -> None:
    """No user has a zone."""


def test_what_is_shown_after_a_revoke_is_what_was_flushed() -> None:
    """Events that come amid the revoke are read again by the next owner: whoever shows them would go back."""

    async def run() -> None:
        async with live_fixture(slice_ms=0) as fixture:
            table, state = table_with(fixture), fixture.state
            applying = asyncio.create_task(table.apply_batch(PARTITION, batch(0, balances(0, 5_000))))
            await fixture.until(lambda: state.position)
            await table.flush_before_revoke()
            await applying
            await table.apply_batch(PARTITION, batch(state.position, balances(state.position, 5)))
            assert 0 < state.position < 5_000
            assert fixture.partition.status.flushed_offset == state.position
            await table.on_rebalance({TP_OF_EVENTS}, set(), set(), 1)
            await table.apply_batch(PARTITION, batch(state.position, balances(state.position, 5)))
            assert state.position == fixture.partition.status.flushed_offset + 5

    asyncio.run(run())


def test_a_state_that_is_kept_to_answer_from_is_never_flushed() -> None:
    """The partition has forgotten it, and what is kept has no writer; it is emptied a while after its next owner has
    the partition."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table, state, writer = table_with(fixture), fixture.state, fixture.writer
            table.configure(fixture.context, no_zone)
            await table.apply_batch(PARTITION, batch(0, balances(0, 3)))
            holders_of(table)[PARTITION] = ["http://127.0.0.1:1"]
            await table.on_rebalance(set(), set(), set(), 2)
            one = table.kept.get(PARTITION)
            assert one is not None
            assert (one.state, one.state.position, table.held()) == (state, 3, {PARTITION: 3})
            assert not await fixture.partition.flush(always=True)
            await table.flush_before_revoke()
            await table.prove_ownership()
            assert writer.written == []
            assert table.hand_over(PARTITION, 2, 2, "http://next") == 3  # it has less than was shown
            assert table.hand_over(PARTITION, 9, 1, "http://old") == 0  # of an assignment before
            assert table.successor_of(PARTITION) is None
            assert table.hand_over(PARTITION, 3, 2, "http://next") == 0
            assert (table.successor_of(PARTITION), table.held()) == ("http://next", {})
            await fixture.until(lambda: table.kept.get(PARTITION) is None and not fixture.context.discards)
            assert state.users == {}

    asyncio.run(run())


def test_partitions_that_are_not_restored_yet_are_frozen_too() -> None:
    """A restore may end amid the rebalance: what changed from then on would not be what the next owner restores."""

    async def run() -> None:
        fixture = new_fixture()
        table, status = table_with(fixture), fixture.partition.status
        await table.flush_before_revoke()
        assert status.frozen
        table.configure(fixture.context, no_zone)
        await table.on_rebalance({TP_OF_FIXTURE}, set(), set(), 1)
        assert not status.frozen

    asyncio.run(run())


def test_a_worker_that_leaves_the_group_says_that_its_answers_are_incomplete() -> None:
    """It fetches nothing any more, though its partitions are still live while they are flushed."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            app = cast(Any, table.app)
            directory = GroupDirectory(app, table, PARTITIONS, fixture.context.topics)
            await fixture.until(lambda: fixture.partition.status.answering)
            view = directory.view_of(USER)
            assert view is not None and view.fresh
            app._stopped.set()
            view = directory.view_of(USER)
            assert view is not None and not view.fresh

    asyncio.run(run())


def test_what_is_kept_is_kept_until_the_partition_is_restored_here_again() -> None:
    """It came back, and another rebalance begins before it is restored: nobody else has a state of it."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            table.configure(fixture.context, no_zone)
            await fixture.until(lambda: fixture.partition.status.answering)
            holders_of(table)[PARTITION] = ["http://127.0.0.1:1"]
            await table.on_rebalance(set(), set(), set(), 2)
            table.owned[PARTITION] = new_fixture().partition  # it does not restore yet
            holders_of(table).clear()
            await table.on_rebalance({TP_OF_FIXTURE}, set(), set(), 3)
            assert table.held() == {PARTITION: 0}
            table.owned[PARTITION].status.answering = True
            await table.on_rebalance({TP_OF_FIXTURE}, set(), set(), 4)
            assert table.held() == {}

    asyncio.run(run())


def test_a_state_is_kept_only_if_others_may_ask_for_it() -> None:
    """The next owner, or another worker, may have a newer one: this one would show fewer calls."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            table.configure(fixture.context, no_zone)
            holders_of(table)[PARTITION] = ["http://another"]
            await table.on_rebalance(set(), set(), set(), 2)
            assert (table.kept.get(PARTITION), table.held()) == (None, {})

    asyncio.run(run())


def test_a_partition_that_was_taken_before_this_worker_knows_is_not_answered_for() -> None:
    """The next owner may get the assignment, and restore, before this worker gets it."""

    async def run() -> None:
        async with live_fixture() as fixture:
            table = table_with(fixture)
            table.configure(fixture.context, no_zone)
            await table.on_rebalance({TP_OF_FIXTURE}, set(), set(), 1)
            assert table.hand_over(PARTITION, 0, 2, "http://next") == 0
            assert table.successor_of(PARTITION) == "http://next"
            await table.on_rebalance(set(), set(), set(), 2)
            assert table.successor_of(PARTITION) == "http://next"
            await table.on_rebalance({TP_OF_FIXTURE}, set(), set(), 3)
            assert (table.successor_of(PARTITION), table.kept.get(PARTITION)) == (None, None)
            await asyncio.gather(*(one.release() for one in table.owned.values()))

    asyncio.run(run())
