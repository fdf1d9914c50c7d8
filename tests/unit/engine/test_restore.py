"""``PartitionChangelog``: when a partition that waits for an operator is restored again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest

from ecounters.changelog.entries import FORMAT, position_entry
from ecounters.changelog.saved import Position
from streams.engine import restore
from streams.engine.restore import PartitionChangelog
from streams.engine.status import MustWait
from tests.support.engine_fakes import PARTITION, new_fixture


class FakeTakeover:
    """A takeover of a changelog that ends at the offset ``end``."""

    end = 1

    def __init__(self, *_: object) -> None:
        """Takes nothing over."""

    async def open(self) -> None:
        """Makes no writer."""

    async def end_of_changelog(self) -> int:
        """``end``."""
        return self.end

    async def close(self) -> None:
        """Closes nothing."""


class FakeReaders:
    """Reads a changelog with a foreign record. ``then`` is called when its end has been read."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then

    async def read(self, *_: object) -> AsyncGenerator[list[tuple[Any, Any]]]:
        """Yields a position, and the record."""
        yield [position_entry(Position(FORMAT, 0, 0, 0)), (b"foreign", b"x")]
        self.then()

    async def read_again(self, *_: object) -> AsyncGenerator[list[tuple[int, Any, Any]]]:
        """Yields the record with its offset."""
        yield [(1, b"foreign", b"x")]


@pytest.mark.parametrize("repairs", [False, True])
def test_a_repair_while_the_changelog_is_read_is_noticed(monkeypatch: pytest.MonkeyPatch, repairs: bool) -> None:
    """The partition waited for ever if its changelog was repaired before the restore had failed."""
    monkeypatch.setattr(restore, "ChangelogTakeover", FakeTakeover)

    def repair() -> None:
        monkeypatch.setattr(FakeTakeover, "end", 1 + repairs)

    async def run() -> bool:
        context = replace(new_fixture().context, readers=FakeReaders(repair))  # type: ignore[arg-type]
        changelog = PartitionChangelog(PARTITION, context)
        with pytest.raises(MustWait):
            await changelog.restore()
        return await changelog.has_changed()

    assert asyncio.run(run()) is repairs
