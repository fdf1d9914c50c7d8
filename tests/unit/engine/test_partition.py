"""An owned partition among fakes: batches, gaps, failed flushes, releases. The real log is in the integration tests."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError

from streams.engine import partition as module
from streams.engine.status import MustWait
from streams.kafka.changelog_writer import NotWritten
from tests.support.builders import event
from tests.support.engine_fakes import (
    PARTITION,
    USER,
    PartitionFixture,
    balances,
    batch,
    new_fixture,
    on_live,
    user_of,
)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed restores and flushes are tried again at once."""
    monkeypatch.setattr(module, "RESTORE_PAUSES_S", (0.0,))
    monkeypatch.setattr(module, "HEARTBEAT_REPLY_S", 0.0)


def test_a_restored_partition_is_live_and_read_from_its_position_on() -> None:
    """The state's position alone says where to read: no event is read twice, none is left out."""

    async def work(fixture: PartitionFixture) -> None:
        assert fixture.partition.status.flushed_offset == 7
        assert fixture.partition.status.committed_offset == -1
        assert fixture.events.followed == [(PARTITION, 7)]

    on_live(work, position=7)


def test_a_restore_that_fails_is_tried_again() -> None:
    """While the broker is away the partition goes on trying, and does not end the worker."""

    async def run() -> None:
        fixture = new_fixture()
        fixture.changelog.failures = [KafkaError("away"), TimeoutError(), NotWritten("fenced")]
        fixture.partition.start()
        await fixture.until(lambda: fixture.partition.status.live)
        assert not fixture.changelog.failures
        assert not fixture.failed
        await fixture.partition.release()

    asyncio.run(run())


def test_an_unforeseen_error_of_a_restore_ends_the_worker() -> None:
    """What must never happen is not tried again for ever, without a word."""

    async def run() -> None:
        fixture = new_fixture()
        fixture.changelog.failures = [ValueError("a mistake in the code")]
        fixture.partition.start()
        await fixture.until(lambda: fixture.failed)
        assert str(fixture.failed[0]) == "a mistake in the code"
        await fixture.partition.release()

    asyncio.run(run())


def test_a_partition_waits_until_its_changelog_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why as long as it waits, and nothing once it is restored. The worker goes on."""
    monkeypatch.setattr("streams.engine.partition.WAIT_S", 0.01)

    async def run() -> None:
        fixture = new_fixture()
        status = fixture.partition.status
        fixture.changelog.failures = [MustWait("why", "where"), TimeoutError(), MustWait("why", "where")]
        fixture.partition.start()
        await fixture.until(lambda: status.waiting)
        assert status.waiting == ("why", "where")
        assert not status.live
        await fixture.until(lambda: status.live)
        assert status.waiting is None
        assert not fixture.failed
        await fixture.partition.release()

    asyncio.run(run())


def test_a_batch_is_applied() -> None:
    """Its events are counted, its end is the next position, and the metric grows by the accepted ones."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 250), end=253))
        assert fixture.state.position == 253
        assert fixture.state.users[USER].balance is not None
        assert fixture.metrics.accepted._value.get() == 250

    on_live(work)


def test_a_gap_is_read_again() -> None:
    """A batch that does not follow on the last one is not applied: the events are read from the position on."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.end = 20
        await fixture.partition.apply_batch(batch(0, balances(0, 5)))
        await fixture.partition.apply_batch(batch(10, balances(10, 5)))
        assert fixture.state.position == 5
        assert fixture.metrics.accepted._value.get() == 5
        assert fixture.events.followed == [(PARTITION, 0), (PARTITION, 5)]

    on_live(work)


def test_events_that_come_again_are_not_counted_again() -> None:
    """A batch may begin before the position: only what is new of it is applied."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 5)))
        await fixture.partition.apply_batch(batch(2, balances(2, 8)))
        assert fixture.state.position == 10
        assert fixture.metrics.accepted._value.get() == 10
        assert len(fixture.events.followed) == 1

    on_live(work)


def test_offsets_without_events_are_counted() -> None:
    """They held transaction markers, records of aborted transactions, or events that Kafka deleted."""

    async def work(fixture: PartitionFixture) -> None:
        of_events = batch(8, balances(8, 2))
        await fixture.partition.apply_batch(of_events._replace(begin=0, without_event=8))
        assert fixture.metrics.skipped._value.get() == 8
        assert fixture.state.position == 10

    on_live(work)


def test_a_flush_writes_changes_once() -> None:
    """One transaction holds what changed, and the flushed offset follows; without changes nothing is written."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert await fixture.partition.flush()
        assert await fixture.partition.flush()
        assert len(fixture.writer.written) == 1
        assert fixture.writer.written[0].entries >= 2
        assert fixture.partition.status.flushed_offset == 3
        assert await fixture.partition.flush(always=True)
        assert len(fixture.writer.written) == 2

    on_live(work)


def test_a_flush_is_due_every_interval() -> None:
    """Nobody asks for it: after the interval the changes are in the changelog."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        await fixture.until(lambda: fixture.partition.status.flushed_offset == 3)

    on_live(work, interval_ms=10)


def test_a_dropped_batch_is_read_again_with_the_next_flush() -> None:
    """The consumer dropped it in a rebalance: without another batch after it, nobody else would notice."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.partition.status.following = False
        await fixture.until(lambda: len(fixture.events.followed) == 2)
        assert fixture.partition.status.following

    on_live(work, interval_ms=10)


def test_much_unsaved_state_is_flushed_before_its_time() -> None:
    """A flood of refused events is bytes too: above the limit a flush is requested, far above it waited for."""

    async def work(fixture: PartitionFixture) -> None:
        bad = [event("call.unheard-of", 0, USER)] * 2
        await fixture.partition.apply_batch(batch(0, bad))
        await fixture.until(lambda: fixture.partition.status.flushed_offset == 2)
        await fixture.partition.apply_batch(batch(2, bad * 10))
        assert fixture.partition.status.flushed_offset == 22

    on_live(work, bytes_max=800)


def test_dead_letters_are_written_in_the_flush_and_misrouted_events_before_it() -> None:
    """Both leave with the position that says that they need not be read again."""

    async def work(fixture: PartitionFixture) -> None:
        elsewhere = user_of(PARTITION + 1)
        events = [event("call.unheard-of", 0, USER), *balances(1, 1, elsewhere)]
        await fixture.partition.apply_batch(batch(0, events))
        republished_first: list[int] = []
        fixture.writer.before = lambda: republished_first.append(len(fixture.events.republished))
        assert await fixture.partition.flush()
        (outbox,) = fixture.writer.written
        assert (outbox.dlq_batches[0].record_count(), republished_first) == (1, [1])
        assert [misrouted.user_id for misrouted in fixture.events.republished] == [elsewhere]

    on_live(work)


@pytest.mark.parametrize("error", [NotWritten("fenced"), KafkaError("away")])
def test_a_partition_whose_flush_fails_is_restored(error: Exception) -> None:
    """The state's changes are marked as saved and are not: it is never flushed again, and a new one takes its place."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        failed, writer = fixture.state, fixture.writer
        writer.fail = error
        assert not await fixture.partition.flush()
        assert not fixture.partition.status.live
        assert fixture.partition.status.state is failed  # replies are made from it meanwhile
        assert not await fixture.partition.flush()
        await fixture.until(lambda: fixture.partition.status.live)
        assert fixture.state is not failed
        assert (fixture.state.position, fixture.partition.status.flushed_offset) == (0, 0)
        assert (writer.written, len(fixture.changelog.writers)) == ([], 2)
        assert not fixture.failed

    on_live(work)


def test_a_flush_that_ends_in_an_unexpected_error_saves_nothing_more() -> None:
    """The error comes out, and the state with its lost changes is not live any more."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        fixture.writer.fail = RuntimeError("a mistake of ours")
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            await fixture.partition.flush()
        assert not fixture.partition.status.live

    on_live(work)


def test_an_unexpected_error_of_the_periodic_flush_ends_the_worker() -> None:
    """Nobody waits for that flush, so the error is handed to the worker."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.writer.fail = RuntimeError("a mistake of ours")
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        await fixture.until(lambda: fixture.failed)
        assert str(fixture.failed[0]) == "a mistake of ours"

    on_live(work, interval_ms=10)


def test_batches_are_not_applied_until_the_restore() -> None:
    """Between a failed flush and the restore the state may not go on: the events are read again by the new state."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.partition.status.live = False
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert fixture.state.position == 0

    on_live(work)


def test_a_partition_that_is_released_amid_a_batch_stops() -> None:
    """The rest of the batch is the next owner's, and nothing of it is counted in the metrics here."""

    async def work(fixture: PartitionFixture) -> None:
        state = fixture.state
        applying = asyncio.create_task(fixture.partition.apply_batch(batch(0, balances(0, 5_000))))
        await fixture.until(lambda: state.position)
        await fixture.partition.release()
        await applying
        assert 0 < state.position < 5_000
        assert fixture.partition.status.state is None
        assert fixture.metrics.accepted._value.get() == 0

    on_live(work, slice_ms=0)


def test_a_released_partition_is_not_flushed() -> None:
    """Whoever owns it now has taken the changelog over; the writer is closed and the task has ended."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        writer = fixture.writer
        await fixture.partition.release()
        assert not await fixture.partition.flush()
        assert (writer.written, fixture.changelog.closed, fixture.partition._task) == ([], 1, None)

    on_live(work)


def test_one_flush_at_a_time() -> None:
    """A flush before a revoke and the periodic one write one after the other; the second has nothing left."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert all(await asyncio.gather(fixture.partition.flush(), fixture.partition.flush()))
        assert len(fixture.writer.written) == 1

    on_live(work)
