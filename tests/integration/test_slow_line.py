"""A changelog is read to its end over a line on which large fetches do not come in time, and readers can be stopped."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Final

import pytest
from aiokafka import TopicPartition

from streams.basics.slices import TimeSlices
from streams.kafka import changelog_reader
from streams.kafka.changelog_reader import ChangelogReaders, Pace
from streams.kafka.clients import Kafka
from tests.support.tcp_relay import TcpRelay
from tests.support.topics import filled_topic

VALUES: Final = [bytes([at]) * 30_000 for at in range(60)]
BATCH: Final = 3
SLOW: Final = 1_000_000
"""Bytes a second: a large fetch takes 0.6 s, a small one 0.1 s."""
PACES: Final = (Pace(600_000, 0.4), Pace(100_000, 20.0))


class Line:
    """All connections to a broker, through a relay: it says its own address. ``refused``: several were not accepted."""

    def __init__(self, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
        host, port = broker.split(":")
        loop = asyncio.get_running_loop()
        self.relay = TcpRelay(host, int(port))
        self.refused, self._left = asyncio.Event(), 3
        connect = loop.create_connection

        async def through(factory: Any, to: str, at: int, **options: Any) -> Any:
            """The relay's own connections to the broker have no option."""
            try:
                return await connect(factory, to, self.relay.port if at == int(port) and options else at, **options)
            except ConnectionRefusedError:
                self._left -= 1
                if not self._left:
                    self.refused.set()
                raise

        monkeypatch.setattr(loop, "create_connection", through)


async def new_topic(broker: str) -> str:
    return await filled_topic(broker, 1, [VALUES[at : at + BATCH] for at in range(0, len(VALUES), BATCH)])


def test_what_does_not_come_in_time_is_read_in_smaller_pieces(
    broker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each restore began anew, for ever. What has come is not read again; where even the small pieces do not come in
    time, it is an error as before."""
    monkeypatch.setattr(changelog_reader, "PACES", PACES)
    sends_all = not os.environ.get("ECOUNTERS_TEST_BROKER")  # the embedded broker: all records in one fetch

    async def read(readers: ChangelogReaders, topic: str, relay: TcpRelay, *, from_start: bool) -> list[bytes]:
        """All values. The line is slow from the start, or after the first fetch."""
        found, shares, tp = list[bytes](), list[float](), TopicPartition(topic, 0)
        relay.bytes_per_s = SLOW if from_start else 0
        async for entries in readers.read(tp, TimeSlices(10), shares.append):
            found += [value for _, value in entries if value is not None]
            relay.bytes_per_s = SLOW
        assert shares == sorted(shares)
        return found

    async def run() -> None:
        topic = await new_topic(broker)
        line = Line(broker, monkeypatch)
        async with line.relay as relay:
            readers = ChangelogReaders(Kafka(broker))
            for from_start in (sends_all, True):  # the next partition is read in small pieces from the start
                assert await read(readers, topic, relay, from_start=from_start) == VALUES
                assert sum("did not come within" in one.message for one in caplog.records) == 1
            monkeypatch.setattr(changelog_reader, "PACES", (PACES[0], Pace(100_000, 0.01)))
            with pytest.raises(TimeoutError):
                await read(readers, topic, relay, from_start=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())


def test_a_reader_can_be_stopped_while_no_broker_accepts_connections(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka raised CancelledError then: a restore ended for good, as if somebody had cancelled it."""

    async def run() -> None:
        tp = TopicPartition(await new_topic(broker), 0)
        line = Line(broker, monkeypatch)
        async with line.relay as relay:
            consumer = Kafka(broker).consumer()
            await consumer.start()
            consumer.assign([tp])
            await consumer.seek_to_end(tp)
            await relay.cut()
            async with asyncio.timeout(20):
                await line.refused.wait()
            await asyncio.sleep(0.02)  # it pauses for 0.1 s now
            await consumer.stop()

    asyncio.run(run())
