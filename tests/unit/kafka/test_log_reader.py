"""A partition that is read up to an offset, where a broker does not send all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from ecounters.errors import Stop
from streams.kafka import log_reader
from streams.kafka.batches import Batch
from streams.kafka.log_reader import KeyedRow, LogReader, keyed_rows
from streams.kafka.splitting import split
from tests.support.record_batches import batch


class HalfReader(LogReader[KeyedRow]):
    """A reader whose broker sends the records at 0 to 9, and no more."""

    async def _read(self, tp: Any) -> AsyncGenerator[list[KeyedRow]]:
        content = split(bytes(batch(0, [b"v%d" % at for at in range(10)])), 20).batches
        async for rows in self._rows(tp.partition, Batch(0, 10, 0, 0, content)):
            yield rows
        await asyncio.Event().wait()


def test_where_a_broker_sends_nothing_more_the_offset_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the length of a record batch is impossible: Kafka does not find its end either. What is before is read,
    each row once, also by calls that end within a batch."""
    monkeypatch.setattr(log_reader, "NO_RECORDS_LIMIT_S", 0.05)

    async def run() -> None:
        asked = dict.fromkeys(("beginning_offsets", "end_offsets"), _zeros)
        quiet = {name: lambda *_: None for name in ("assign", "seek", "pause", "resume")}
        reader = HalfReader(SimpleNamespace(**asked, **quiet), "events", 1, keyed_rows)
        await reader.begin(None, None)
        read = [offset async for rows in reader.up_to(0, 4) for offset, _, _ in rows]
        read += [offset async for rows in reader.up_to(0, 7) for offset, _, _ in rows]
        with pytest.raises(Stop, match="cannot be read up to offset 20: the broker sends nothing from offset 10 on"):
            async for rows in reader.up_to(0, 20):
                read += [offset for offset, _, _ in rows]
        assert read == list(range(10))

    asyncio.run(run())


async def _zeros(tps: list[Any]) -> dict[Any, int]:
    """Offset 0 of each partition."""
    return dict.fromkeys(tps, 0)
