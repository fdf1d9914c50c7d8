"""When a flush is due, and what it does with records that Kafka does not take, or refuses."""

from __future__ import annotations

import logging

import pytest
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, ProducerFenced

from streams.engine import sending
from streams.engine.feed import FAR_BEHIND_EVENTS
from streams.engine.flushing import BUSY_INTERVALS, BUSY_SHARE, PartitionFlusher
from streams.kafka.changelog_writer import DEAD_LETTER, LeftOut, NotWritten
from streams.metrics.catalogue import FLUSH_FAILURES
from streams.settings.narrow import FlushSettings
from tests.support.builders import event
from tests.support.engine_fakes import PARTITION, USER, PartitionFixture, balances, batch, on_live, user_of

FAR = FAR_BEHIND_EVENTS + 9
BYTES_MAX = 100_000
"""Unsaved bytes that are flushed at once: more than 100 calls have, fewer than 500."""


def test_what_kafka_does_not_take_is_reported_and_the_flush_is_good(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each kind, without keys; a metric counts all, and the position is saved."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.writer.left_out = [
            LeftOut("call", "", 700_000),
            LeftOut("call", "", 800_000),
            LeftOut(DEAD_LETTER, "17", 9),
        ]
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert await fixture.partition.flush()
        assert fixture.partition.status.flushed_offset == 3
        assert fixture.metrics.left_out._value.get() == 3

    with caplog.at_level(logging.ERROR):
        on_live(work)
    lines = [record.getMessage().split(",")[:2] for record in caplog.records]
    assert lines == [
        ["partition 1: 2 records of kind call", " of up to 800000 bytes"],
        ["partition 1: 1 records of kind dead letter", " of up to 9 bytes (event at offset 17)"],
    ]


def test_a_misrouted_event_that_is_too_large_to_be_sent_on_is_a_dead_letter() -> None:
    """It is in the transaction of the same flush, and is not sent again and again."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.takes_bytes = 10
        await fixture.partition.apply_batch(batch(0, balances(0, 2, user_of(PARTITION + 1))))
        assert await fixture.partition.flush()
        (outbox,) = fixture.writer.written
        letters = [dict(letter["headers"]) for letter in outbox.dlq_batches[0].messages]
        assert [(letter["reason"], letter["offset"]) for letter in letters] == [
            (b"too_large", b"0"),
            (b"too_large", b"1"),
        ]
        assert fixture.metrics.refused.labels("too_large")._value.get() == 2
        assert len(fixture.events.republished) == 2
        assert await fixture.partition.flush()
        assert len(fixture.events.republished) == 2

    on_live(work)


def test_refused_dead_letters_are_kept_until_their_topic_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting goes on, and nothing is saved. When too much is unsaved, the partition waits; then all is saved."""
    monkeypatch.setattr(sending, "KEPT_RETRY_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        status = fixture.partition.status
        fixture.writer.refused = "TopicAuthorizationFailedError"
        await fixture.partition.apply_batch(batch(0, [*balances(0, 2), {"type": "unknown"}]))
        assert not await fixture.partition.flush()
        assert (status.live, status.waiting, status.kept_letters, fixture.writer.written) == (True, None, 1, [])
        await fixture.partition.apply_batch(batch(3, [{"type": "unknown"}] * 40))  # more than four times bytes_max
        assert status.waiting is not None
        assert "topic dlq refuses dead letters" in status.waiting.detail
        assert (status.live, status.following) == (True, False)
        position = fixture.state.position
        await fixture.partition.apply_batch(batch(position, balances(position, 1)))
        assert fixture.state.position == position
        fixture.writer.refused = ""
        assert await fixture.partition.flush()
        (outbox,) = fixture.writer.written
        assert len(outbox.dlq_batches[0].messages) == position - 2
        assert fixture.partition.feed.is_fresh()  # it waits no more
        assert (status.kept_letters, status.flushed_offset) == (0, position)

    on_live(work, bytes_max=2_000)


def test_misrouted_events_do_not_wait_for_dead_letters_that_are_refused() -> None:
    """They are of other accounts. With none but them, all is saved; a dead letter holds back its own partition."""

    async def work(fixture: PartitionFixture) -> None:
        elsewhere = user_of(PARTITION + 1)
        fixture.writer.refused = "TopicAuthorizationFailedError"
        await fixture.partition.apply_batch(batch(0, balances(0, 2, elsewhere)))
        assert await fixture.partition.flush()
        assert (len(fixture.events.republished), len(fixture.writer.written)) == (2, 1)
        await fixture.partition.apply_batch(batch(2, [{"type": "unknown"}, *balances(2, 1, elsewhere)]))
        assert not await fixture.partition.flush()
        assert (len(fixture.events.republished), len(fixture.writer.written)) == (3, 1)
        assert (fixture.partition.status.kept_letters, fixture.partition.status.live) == (1, True)

    on_live(work)


def test_misrouted_events_that_cannot_be_sent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a broker is away: the partition counts on, begins no transaction, and saves all later, each once."""
    monkeypatch.setattr(sending, "KEPT_RETRY_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        fixture.events.takes_nothing = NotLeaderForPartitionError()
        bad = [{"type": "unknown"}, *balances(0, 2, user_of(PARTITION + 1))]
        await fixture.partition.apply_batch(batch(0, [*balances(0, 2), *bad]))
        fixture.writer.refused = "it was asked"
        assert not await fixture.partition.flush()
        assert (fixture.partition.status.kept_letters, fixture.partition.status.live) == (3, True)
        await fixture.partition.apply_batch(batch(5, balances(5, 2)))
        fixture.writer.refused, fixture.events.takes_nothing = "", None
        assert await fixture.partition.flush()
        assert (fixture.state.position, fixture.partition.status.flushed_offset) == (7, 7)
        assert (len(fixture.events.republished), fixture.partition.status.kept_letters) == (2, 0)
        (outbox,) = fixture.writer.written
        assert len(outbox.dlq_batches[0].messages) == 1

    on_live(work)


@pytest.mark.parametrize(("cause", "reason"), [(ProducerFenced(), "fenced"), (NotLeaderForPartitionError(), "failed")])
def test_a_failed_flush_is_counted_by_its_reason(cause: Exception, reason: str) -> None:
    """Whether another worker has the partition is an error that others were raised from."""

    async def work(fixture: PartitionFixture) -> None:
        error = NotWritten("test-1")
        error.__cause__ = KafkaError("while it was sent")
        error.__cause__.__cause__ = cause
        fixture.writer.fail = error
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert not await fixture.partition.flush()
        counts = {why: fixture.metrics.flush_failures.labels(why)._value.get() for why in FLUSH_FAILURES}
        assert counts == {why: float(why == reason) for why in FLUSH_FAILURES}

    on_live(work)


def test_the_bytes_of_a_flush_are_counted() -> None:
    """Those of changelog entries and of dead letters."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, [*balances(0, 2), {"type": "of no kind"}]))
        before = fixture.metrics.flushed_bytes._value.get()
        assert await fixture.partition.flush()
        outbox = fixture.writer.written[-1]
        assert outbox.dlq_batches[0].size() > 0
        written = outbox.changelog_batches[0].size() + outbox.dlq_batches[0].size()
        assert fixture.metrics.flushed_bytes._value.get() - before == written

    on_live(work)


def second_flusher(fixture: PartitionFixture, interval_ms: int) -> PartitionFlusher:
    """A flusher of the partition besides its own, whose interval does not end: so nobody flushes meanwhile."""
    partition = fixture.partition
    flusher = PartitionFlusher(
        partition.status, fixture.changelog, partition._uncounted, partition.feed, fixture.context
    )
    flusher._settings = FlushSettings(interval_ms, BYTES_MAX)
    return flusher


@pytest.mark.parametrize(
    ("calls", "misrouted", "following", "left", "moves", "intervals"),
    [
        (0, 0, True, 0, 0, 1),
        (1, 0, True, 0, 9, 1),
        (100, 0, True, 0, 9, BUSY_INTERVALS),
        (100, 0, True, 0, 2, 3),
        (100, 0, True, 0, 0, 1),
        (0, 0, True, FAR, 0, 1),
        (1, 0, True, FAR, 0, BUSY_INTERVALS),
        (100, 0, False, FAR, 9, 1),
        (100, 1, True, FAR, 9, 1),
        (500, 0, True, 0, 9, 0),
    ],
)
def test_after_how_many_intervals_a_flush_is_due(
    calls: int, misrouted: int, following: bool, left: int, moves: int, intervals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one, if much is unsaved or the partition is far behind; none, if more than the most is unsaved.

    ``calls``: how many have started since the last flush. ``misrouted``: likewise events of another partition, which
    must not wait. ``following``: of the partition's status. ``left``: offsets between the state and the log's end.
    ``moves``: in how many intervals events come.
    """

    async def work(fixture: PartitionFixture) -> None:
        partition, state = fixture.partition, fixture.state
        begun = 0
        wait_for_interval = PartitionFlusher._wait_for_interval

        async def counted(flusher: PartitionFlusher) -> None:
            nonlocal begun
            if not flusher._requested:
                begun += 1
                if begun <= moves:
                    await partition.apply_batch(batch(state.position, balances(state.position, 1)))
            await wait_for_interval(flusher)

        flusher = second_flusher(fixture, 5)
        started = [event("call.started", at, USER, callId=f"c{at}", callType="IBD") for at in range(calls)]
        elsewhere = balances(calls, misrouted, user_of(PARTITION + 1))
        await partition.apply_batch(batch(0, [*started, *elsewhere]))
        await flusher.flush_if_large(state)
        assert (state.dirty_bytes > BYTES_MAX * BUSY_SHARE) == (calls >= 100)
        assert (state.dirty_bytes > BYTES_MAX) == (calls == 500)
        fixture.events.end = state.position + left
        partition.status.following = following
        monkeypatch.setattr(PartitionFlusher, "_wait_for_interval", counted)
        assert await flusher.wait_until_due()
        assert begun == intervals

    on_live(work)


@pytest.mark.parametrize(("interval_ms", "intervals"), [(10, 5), (2_000, 5), (2_001, 4), (6_000, 1), (60_000, 1)])
def test_a_busy_partition_waits_for_10_s_at_most(
    interval_ms: int, intervals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the age of its commit would be taken for a fault, with a long interval."""

    async def work(fixture: PartitionFixture) -> None:
        partition, begun = fixture.partition, 0

        async def passes_at_once(_: PartitionFlusher) -> None:
            nonlocal begun
            begun += 1

        flusher = second_flusher(fixture, interval_ms)
        await partition.apply_batch(batch(0, balances(0, 1)))
        fixture.events.end = FAR
        monkeypatch.setattr(PartitionFlusher, "_wait_for_interval", passes_at_once)
        assert await flusher.wait_until_due()
        assert begun == intervals

    on_live(work)
