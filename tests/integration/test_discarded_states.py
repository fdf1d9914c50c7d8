"""Partitions that are restored and given up again and again, from a real changelog: no state stays in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from sys import getallocatedblocks
from typing import Final

from prometheus_client import CollectorRegistry

from streams.basics.slices import TimeSlices
from streams.engine.context import WorkerContext
from streams.engine.partition import OwnedPartition
from streams.engine.restore import PartitionChangelog
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.shared_clients import SharedClients
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import PartitionSettings
from tests.support.builders import call
from tests.support.engine_fakes import (
    BINDING,
    PARTITION,
    PARTITIONS,
    USER,
    FakeEvents,
    FakeFacts,
    FakeHandover,
    batch,
    watch,
)
from tests.support.workers import Deployment

LIVE: Final = 20_000
ROUNDS: Final = 2
"""Few, as a flush over a closed connection takes 15 s to fail. Each leaves 50,000 blocks if nothing is freed."""
LIMIT_S: Final = 60.0
SLICE_MS: Final = 1
"""Short: a restore of LIVE calls takes some 90 iterations of the event loop then, three a slice, and PART are fewer."""
PART: Final = 20
"""So many iterations after its first call a restore is given up."""


async def until(condition: Callable[[], object]) -> None:
    """Let the tasks run until the condition is true."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what makes it true are steps in between
            await asyncio.sleep(0)


class Engine:
    """The partitions of a worker with a real broker for changelogs, and no topic of events."""

    def __init__(self, deployment: Deployment) -> None:
        settings = PartitionSettings.of(deployment.loaded(), PARTITIONS)
        metrics = Metrics.create(CollectorRegistry())
        self.failed: list[BaseException] = []
        topics = watch(FakeFacts(), self._fail, metrics)
        clients = SharedClients(deployment.kafka)
        readers = ChangelogReaders(deployment.kafka)
        self.context = WorkerContext(
            settings,
            BINDING,
            metrics,
            topics,
            FakeEvents(),
            self._fail,
            TimeSlices(SLICE_MS),
            clients,
            readers,
            FakeHandover(),
        )

    async def _fail(self, error: BaseException) -> None:
        self.failed.append(error)

    def owned(self) -> tuple[OwnedPartition, PartitionChangelog]:
        """The partition, as the worker gets it in a rebalance, and its changelog."""
        changelog = PartitionChangelog(PARTITION, self.context)
        owned = OwnedPartition(PARTITION, self.context, changelog)
        owned.start()
        return owned, changelog

    async def count_and_save(self) -> None:
        """Count LIVE calls, save them, and give the partition up."""
        owned, _ = self.owned()
        await until(lambda: owned.status.live)
        events = [one for number in range(LIVE) for one in call(f"c{number}", USER).started(number / 100).events]
        await owned.apply_batch(batch(0, events))
        assert await owned.flush()
        await owned.release()

    async def restore_and_restore_again(self) -> None:
        """Restore the partition, fail in a flush and restore it once more; then give it up."""
        owned, changelog = self.owned()
        for _ in range(2):
            await until(lambda: owned.status.live)
            state = owned.status.state
            assert state is not None
            assert len(state.users[USER].calls) == LIVE
            del state
            await changelog.close()
            assert not await owned.flush(always=True)
            await until(lambda: not owned.status.live)
        await owned.release()

    async def give_up_amid_a_restore(self) -> None:
        """Give the partition up when a part of its calls has been restored."""
        owned, changelog = self.owned()
        assert changelog.read_ratio == 0
        await until(self.context.restore_lock.locked)
        assert changelog.read_ratio == 1
        for _ in range(PART):
            await asyncio.sleep(0)
        assert self.context.restore_lock.locked()
        await owned.release()
        assert owned.status.state is None

    async def all_discarded(self) -> None:
        """Wait until the memory of the states is freed."""
        await until(lambda: not self.context.discards)
        assert not self.failed


def test_restores_and_releases_leave_no_calls_in_memory(deployment: Deployment) -> None:
    """Also of a restore that is cancelled amid its calls. A state of 20,000 live calls needed 10 MB for ever."""

    async def run() -> int:
        engine = Engine(deployment)
        await engine.count_and_save()
        before = 0
        for number in range(ROUNDS):
            await engine.restore_and_restore_again()
            await engine.give_up_amid_a_restore()
            await engine.all_discarded()
            before = before if number else getallocatedblocks()
        grown = getallocatedblocks() - before
        await engine.context.clients.close()
        return grown

    assert asyncio.run(run()) < LIVE
