"""What a flush does with records that Kafka does not take."""

from __future__ import annotations

import logging

import pytest

from streams.kafka.changelog_writer import DEAD_LETTER, LeftOut
from tests.support.engine_fakes import PARTITION, PartitionFixture, balances, batch, on_live, user_of


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
