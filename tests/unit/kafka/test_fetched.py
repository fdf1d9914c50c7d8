"""Bytes that are no records: whoever reads the partition gets an error, if it wants that and still reads from there."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka.fetched import prepare

TP: Final = TopicPartition("changelog", 3)
OFFSET: Final = 7
CORRUPT_MESSAGE: Final = 2


class Fetcher:
    """aiokafka's fetcher and its client in one: a broker sends it half the header of a record batch."""

    _closed = False

    def __init__(self, records: dict[TopicPartition, Any]) -> None:
        self._client: Any = self
        self._records = records
        self.seen: list[tuple[int, bytes]] = []

    async def send(self, *_: object) -> Any:
        """The response of the broker."""
        return SimpleNamespace(topics=[(TP.topic, [(TP.partition, 0, 100, b"half a header")])])

    async def _proc_fetch_request(self, _: Any, node_id: int, request: Any) -> bool:
        """Note (error code, records) that aiokafka would see, and make no FetchResult, as it does of an error."""
        ((_, ((_, error, _, records),)),) = (await self._client.send(node_id, request)).topics
        self.seen.append((error, records))
        return False

    def _set_error(self, tp: TopicPartition, error: Exception) -> None:
        self._records[tp] = error


@pytest.mark.parametrize(
    ("raises", "active", "position", "waiting", "is_told"),
    [
        (True, True, OFFSET, False, True),
        (False, True, OFFSET, False, False),  # the reader does not want it
        (True, False, OFFSET, False, False),  # the partitions are assigned anew
        (True, True, OFFSET + 1, False, False),  # a seek
        (True, True, None, False, False),  # a seek to the beginning, which is not known yet
        (True, True, OFFSET, True, False),  # there is something to read
    ],
)
def test_broken_bytes_are_an_error_of_whoever_reads_from_there(
    raises: bool, active: bool, position: int | None, waiting: bool, is_told: bool
) -> None:
    """Else aiokafka is told of an error code, and fetches the same offset again."""
    fetcher = Fetcher({TP: "result"} if waiting else {})
    prepare(SimpleNamespace(_fetcher=fetcher, _closed=False), raise_broken=raises)
    assignment = SimpleNamespace(active=active, state_value=lambda _: SimpleNamespace(_position=position))
    request = FetchRequest(100, 1, 100, 1, [(TP.topic, [(TP.partition, OFFSET, 100)])])
    assert asyncio.run(fetcher._proc_fetch_request(assignment, 0, request)) is is_told
    assert fetcher.seen == [(CORRUPT_MESSAGE, b"")]
    told = fetcher._records.get(TP)
    assert isinstance(told, CorruptRecordException) is is_told
    if is_told:
        assert "changelog, partition 3: what was fetched from offset 7 on are no records" in str(told)
