"""aiokafka's coordinator is guarded. It is a fake here, for a broker cannot be made to reply like this at will."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError

from streams.app import build
from streams.kafka import group
from streams.kafka.group import Assignor, guard_coordinator
from streams.settings.table import Settings
from tests.support.engine_fakes import LOG, PARTITIONS


class FakeCoordinator:
    """A fake of aiokafka's GroupCoordinator, as far as ``guard_coordinator`` uses it."""

    def __init__(self) -> None:
        self.assignments: list[Any] = []
        self.rejoins = 0
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coordination_task = asyncio.create_task(self._coordinate())

    async def _coordinate(self) -> None:
        await self.end

    async def _on_join_complete(self, generation: int, member_id: str, protocol: str, assigned: bytes) -> None:
        self.assignments.append(ConsumerProtocol.ASSIGNMENT.decode(assigned).partitions())

    def request_rejoin(self) -> None:
        """Count the request."""
        self.rejoins += 1


def test_an_empty_assignment_makes_the_member_rejoin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader did not know it: it has no partitions for now."""
    monkeypatch.setattr(group, "REJOIN_PAUSE_S", 0)

    async def main() -> None:
        coordinator = FakeCoordinator()
        guard_coordinator(coordinator, lambda error: pytest.fail(str(error)))
        await coordinator._on_join_complete(1, "m", "faust", group.EMPTY_ASSIGNMENT)
        assert (coordinator.assignments, coordinator.rejoins) == ([[]], 0)
        await coordinator._on_join_complete(2, "m", "faust", b"")
        assert (coordinator.assignments, coordinator.rejoins) == ([[], []], 1)
        coordinator._coordination_task.cancel()
        await asyncio.wait([coordinator._coordination_task])

    asyncio.run(main())


def test_a_coordinator_that_fails_is_reported() -> None:
    """Otherwise the worker would be in no group, fetch nothing, and go on."""

    async def main() -> BaseException:
        coordinator, reported = FakeCoordinator(), asyncio.get_running_loop().create_future()
        guard_coordinator(coordinator, reported.set_result)
        coordinator.end.set_exception(KafkaError("Unexpected error during coordination"))
        error: BaseException = await asyncio.wait_for(reported, 10)
        return error

    assert isinstance(asyncio.run(main()), KafkaError)


class Cluster:
    """A cluster whose topics have so many partitions."""

    def __init__(self, count: int) -> None:
        self._count = count

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """None if there is no topic."""
        return set(range(self._count)) or None


@pytest.mark.parametrize("count", [PARTITIONS, 2 * PARTITIONS, 0])
def test_only_partitions_that_have_a_state_are_assigned(count: int) -> None:
    """Also while the topic has more, or is gone: a new one has no changelog, an old one still has its counters."""
    assignor = cast(Assignor, build(Settings(advertise="127.0.0.1:1"), LOG).faust.assignor)
    member = assignor.metadata({LOG.topic})
    assigned = assignor.assign(Cluster(count), {"m1": member, "m2": member})
    partitions = [partition for one in assigned.values() for _, of in one.assignment for partition in of]
    assert sorted(partitions) == list(range(PARTITIONS))
