"""A changelog is read to its end over a line on which large fetches do not come in time."""

from __future__ import annotations

import asyncio
import logging
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
"""Bytes a second: all at once takes almost two seconds."""


def test_what_does_not_come_in_time_is_read_in_smaller_pieces(
    broker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each restore began anew, for ever. What has come is not read again; where even the small pieces do not come in
    time, it is an error as before."""
    paces = (Pace(4_194_304, 0.5), Pace(100_000, 20.0))
    monkeypatch.setattr(changelog_reader, "PACES", paces)
    host, port = broker.split(":")

    async def read(readers: ChangelogReaders, topic: str) -> list[bytes]:
        found, tp = list[bytes](), TopicPartition(topic, 0)
        async for values in readers.read(tp, TimeSlices(10), lambda _, record: record.value):
            found += values
        return found

    async def run() -> None:
        topic = await filled_topic(broker, 1, [VALUES[at : at + BATCH] for at in range(0, len(VALUES), BATCH)])
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        async with TcpRelay(host, int(port), bytes_per_s=SLOW) as relay:

            async def through(factory: Any, to: str, at: int, **options: Any) -> Any:
                """The broker says its own address; the relay's connections to it have no option."""
                return await connect(factory, to, relay.port if at == int(port) and options else at, **options)

            monkeypatch.setattr(loop, "create_connection", through)
            readers = ChangelogReaders(Kafka(broker))
            for time_outs in (1, 1):  # the next partition is read in small pieces from the start
                assert await read(readers, topic) == VALUES
                assert sum("did not come within" in one.message for one in caplog.records) == time_outs
            monkeypatch.setattr(changelog_reader, "PACES", (paces[0], Pace(100_000, 0.01)))
            with pytest.raises(TimeoutError):
                await read(readers, topic)

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
