"""What becomes of a standby with which the restore of its partition begins, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace

import msgspec
import pytest

from ecounters.calls.record import REAPED
from ecounters.changelog.entries import CALL, Entry, read_call
from streams.engine import restore
from streams.engine.restore import PartitionChangelog
from streams.engine.standby import Standby
from streams.engine.status import MustWait
from tests.support.builders import Feed, call
from tests.support.engine_fakes import PARTITION, PARTITIONS, USER, new_fixture


def entries() -> list[Entry]:
    """A flush with a live call."""
    return list(Feed(PARTITION, PARTITIONS).take(call("c1", USER).started()).state.take_changes())


class Takeover:
    """Takes a changelog over from nobody, which ends at an offset behind all entries. It is the writer too."""

    def __init__(self, *_: object) -> None:
        """Connects to no broker."""

    async def open(self) -> Takeover:
        """The writer, which nobody uses."""
        return self

    async def end_of_changelog(self) -> int:
        """The offset."""
        return 100

    async def settle_dead_letters(self, _: int) -> None:
        """There are none."""

    async def close(self) -> None:
        """Closes nothing."""


class Fetched:
    """What was fetched: these entries, at the offsets from 0 on."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.next_offset = len(entries)

    def lists(self) -> Iterator[list[Entry]]:
        """All of them."""
        return iter([self._entries])


class Readers:
    """Reads a changelog that has these entries. ``answers``: whether the standby could answer when they were read."""

    def __init__(self, changelog: Sequence[Entry]) -> None:
        self.changelog = list(changelog)
        self.standby: Standby | None = None
        self.answers = False

    async def read(self, *arguments: object) -> AsyncGenerator[list[Entry]]:
        """Yields all from the offset on, which the last argument is if there are five."""
        await asyncio.sleep(0)
        self.answers = self.standby is not None and self.standby.state is not None and not self.standby.lock.locked()
        yield self.changelog[int(str(arguments[4])) if len(arguments) > 4 else 0 :]

    async def read_again(self, *_: object) -> AsyncGenerator[list[tuple[int, bytes, bytes | None]]]:
        """Yields all with their offsets."""
        yield [(offset, *entry) for offset, entry in enumerate(self.changelog)]


class Taken:
    """A standby that has followed the first ``known`` entries of a changelog, and is to be taken over."""

    def __init__(self, changelog: Sequence[Entry], known: int) -> None:
        self.readers = Readers(changelog)
        self.context = replace(new_fixture().context, readers=self.readers)  # type: ignore[arg-type]
        self.standby = self.readers.standby = Standby(PARTITION, self.context)
        self.changelog = PartitionChangelog(PARTITION, self.context, self.standby)
        self._known = known

    async def follow(self) -> PartitionChangelog:
        """Follow, and return the changelog that is to be restored."""
        async with self.standby.lock:
            await self.standby.read(Fetched(self.readers.changelog[: self._known]))  # type: ignore[arg-type]
        self.standby.look(self._known, 1)
        return self.changelog

    async def is_emptied(self) -> bool:
        """Whether the state that it had is emptied once all that is to be discarded is."""
        state = self.standby.state
        assert state is not None and state.users
        await self.changelog.close()
        await asyncio.gather(*self.context.discards)
        return not state.users


@pytest.fixture(autouse=True)
def takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker is needed."""
    monkeypatch.setattr(restore, "ChangelogTakeover", Takeover)


def test_a_standby_with_which_no_restore_has_begun_is_discarded() -> None:
    """The partition is taken away again first. A state that is only dropped stays in memory for ever."""

    async def run(begin: bool) -> bool:
        taken = Taken(entries(), len(entries()))
        changelog = await taken.follow()
        if begin:
            async with taken.standby.lock:  # a fetch is being applied
                restoring = asyncio.create_task(changelog.restore())
                for _ in range(9):
                    await asyncio.sleep(0)
                restoring.cancel()
                await asyncio.wait([restoring])
        return await taken.is_emptied()

    assert asyncio.run(run(begin=False))
    assert asyncio.run(run(begin=True))


def test_a_call_that_cannot_be_counted_makes_the_partition_wait() -> None:
    """As after a restore of all: the error that says so ended the worker, and then the next one that took over."""

    def damaged(entry: Entry) -> Entry:
        key, value = entry
        if key[:1] != CALL or value is None:
            return entry
        saved = read_call(key, value)[2]
        saved.silence, saved.ivrs = REAPED, (1,)
        return key, msgspec.msgpack.encode(saved)

    async def run() -> None:
        taken = Taken([damaged(entry) for entry in entries()], len(entries()))
        changelog = await taken.follow()
        with pytest.raises(MustWait, match="call"):
            await changelog.restore()

    asyncio.run(run())


def test_a_standby_answers_while_the_rest_is_read() -> None:
    """A broker may take long to send it."""

    async def run() -> bool:
        taken = Taken(entries() * 2, len(entries()))
        await (await taken.follow()).restore()
        return taken.readers.answers

    assert asyncio.run(run())
