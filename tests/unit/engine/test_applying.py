"""Batches with record batches that cannot be read, with very much, and with producers' timestamps."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from streams.basics.times import now_ms
from streams.kafka.batches import Batch
from streams.kafka.splitting import split
from tests.support.builders import encoded, event
from tests.support.engine_fakes import PARTITION, USER, PartitionFixture, balances, batch, on_live
from tests.support.record_batches import BY_BROKER
from tests.support.record_batches import batch as record_batch


def unreadable_batch(begin: int, before: int, behind: int) -> Batch:
    """A batch with good events, two in a record batch with a wrong checksum, and good events."""
    at = begin + before
    damaged = record_batch(at, [b"a", b"b"], attributes=BY_BROKER)
    damaged[-1] ^= 1
    content = [*batch(begin, balances(begin, before)).content, *split(bytes(damaged), at + 2).batches]
    content += batch(at + 2, balances(at + 2, behind)).content
    return Batch(begin, at + 2 + behind, 0, 0, content)


def test_a_record_batch_that_cannot_be_read_is_read_again_and_then_dead_lettered() -> None:
    """What is before it is applied at once, what is behind it after the dead letter; and nothing twice."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.end = 10
        await fixture.partition.apply_batch(unreadable_batch(0, 3, 5))
        assert (fixture.state.position, fixture.events.followed) == (3, [(PARTITION, 0), (PARTITION, 3)])
        assert not fixture.metrics.refused.labels("unreadable")._value.get()
        await fixture.partition.apply_batch(batch(10, balances(10, 2)))  # was on its way already
        assert fixture.events.followed == [(PARTITION, 0), (PARTITION, 3), (PARTITION, 3)]
        await fixture.partition.apply_batch(unreadable_batch(3, 0, 5))
        assert fixture.state.position == 10
        assert fixture.metrics.accepted._value.get() == 8
        assert fixture.metrics.refused.labels("unreadable")._value.get() == 1
        assert await fixture.partition.flush()
        outbox = fixture.writer.written[-1]
        (letter,) = outbox.dlq_batches[0].messages
        headers = dict(letter["headers"])
        assert (headers["offset"], headers["last_offset"], headers["reason"]) == (b"3", b"4", b"unreadable")

    on_live(work)


def test_a_record_batch_that_can_be_read_the_second_time_is_counted() -> None:
    """The fault was on the way from the broker; there is no dead letter."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.end = 10
        await fixture.partition.apply_batch(unreadable_batch(0, 3, 5))
        await fixture.partition.apply_batch(batch(3, balances(3, 7)))
        assert fixture.state.position == 10
        assert fixture.metrics.accepted._value.get() == 10
        assert not fixture.metrics.refused.labels("unreadable")._value.get()

    on_live(work)


def test_more_than_fits_in_memory_is_flushed_amid_a_batch() -> None:
    """A record batch of 2 MiB can unpack to millions of bad messages: they are dead-lettered part by part."""

    async def work(fixture: PartitionFixture) -> None:
        bad = [event("call.unheard-of", 0, USER)] * 2_000
        await fixture.partition.apply_batch(batch(0, bad))
        assert fixture.state.position == 2_000
        letters = [sum(one.record_count() for one in outbox.dlq_batches) for outbox in fixture.writer.written]
        assert len(letters) > 2
        assert max(letters) < 1_000

    on_live(work, bytes_max=50_000)


def test_events_that_kafka_deletes_while_a_worker_reads_are_a_hole() -> None:
    """The consumer goes on behind them by itself. Offsets that are missing amid the log are none: nothing was lost."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.end = 1_100
        await fixture.partition.apply_batch(batch(0, balances(0, 5)))
        behind = batch(1_005, balances(1_005, 3))
        gap = Batch(5, 1_008, 1_000, 1_000, behind.content)
        fixture.events.earliest = 1_005
        await fixture.partition.apply_batch(gap)
        assert fixture.events.followed[-1] == (PARTITION, 1_005)
        assert (fixture.state.position, len(fixture.state.holes)) == (1_005, 1)
        assert fixture.metrics.skipped._value.get() == 1_000
        await fixture.partition.apply_batch(behind)
        await fixture.partition.apply_batch(Batch(1_008, 1_020, 7, 7, batch(1_015, balances(1_015, 5)).content))
        assert (fixture.state.position, len(fixture.state.holes)) == (1_020, 1)

    on_live(work)


def test_a_gap_is_not_passed_while_no_broker_says_what_is_left() -> None:
    """The partition is followed again later, from where its state ends."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.fail = KafkaError()
        await fixture.partition.apply_batch(Batch(0, 8, 5, 5, batch(5, balances(5, 3)).content))
        assert (fixture.state.position, fixture.partition.status.following) == (0, False)

    on_live(work)


def test_a_full_partition_is_not_followed_again_and_again() -> None:
    """It is fetched on, and what comes is dropped until there is room: else each fetch would begin anew at once."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.writer.refused = "no right"
        bad = [event("call.unheard-of", 0, USER)] * 2_000
        await fixture.partition.apply_batch(batch(0, bad))
        followed, position = list(fixture.events.followed), fixture.state.position
        assert position < 2_000
        for at in range(3):
            await fixture.partition.apply_batch(batch(2_000 + at, balances(0, 1)))
        assert (fixture.events.followed, fixture.state.position) == (followed, position)
        assert not fixture.partition.status.following

    on_live(work, bytes_max=50_000)


def test_the_lag_goes_by_the_watermark_where_producers_stamp_records() -> None:
    """Their stamps may be in seconds: the lag would be 50 years."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.end = 100
        now = now_ms()
        values = [encoded(event("balance.updated", 0, USER, ts=now - 5_000, balance=1))]
        sent = bytes(record_batch(0, values, headers=[]))
        await fixture.partition.apply_batch(Batch(0, 1, 0, 0, split(sent, 1).batches))
        assert 5_000 <= fixture.partition.feed.lag_ms() < 10_000

    on_live(work)
