"""What of aiokafka's part in the group is mended. A broker cannot be made to say these things at will."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError

from streams.kafka import group
from streams.kafka.group import guard_coordinator


class FakeCoordinator:
    """Of aiokafka's GroupCoordinator, what is looked after."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.joins_again = 0
        self.fate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coordination_task = asyncio.create_task(self._coordinate())

    async def _coordinate(self) -> None:
        await self.fate

    async def _on_join_complete(self, generation: int, member_id: str, protocol: str, assigned: bytes) -> None:
        self.told.append(ConsumerProtocol.ASSIGNMENT.decode(assigned).partitions())

    def request_rejoin(self) -> None:
        """Noted."""
        self.joins_again += 1


def test_a_member_that_the_leader_has_not_heard_of_joins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its assignment is empty bytes: no partitions for now."""
    monkeypatch.setattr(group, "REJOIN_PAUSE_S", 0)

    async def main() -> None:
        coordinator = FakeCoordinator()
        guard_coordinator(coordinator, lambda error: pytest.fail(str(error)))
        await coordinator._on_join_complete(1, "m", "faust", group.EMPTY_ASSIGNMENT)
        assert (coordinator.told, coordinator.joins_again) == ([[]], 0)
        await coordinator._on_join_complete(2, "m", "faust", b"")
        assert (coordinator.told, coordinator.joins_again) == ([[], []], 1)
        coordinator._coordination_task.cancel()
        await asyncio.wait([coordinator._coordination_task])

    asyncio.run(main())


def test_a_worker_that_is_left_alone_by_its_coordinator_hears_of_it() -> None:
    """Or it would be in no group, fetch nothing, and go on."""

    async def main() -> BaseException:
        coordinator, heard = FakeCoordinator(), asyncio.get_running_loop().create_future()
        guard_coordinator(coordinator, heard.set_result)
        coordinator.fate.set_exception(KafkaError("Unexpected error during coordination"))
        error: BaseException = await asyncio.wait_for(heard, 10)
        return error

    assert isinstance(asyncio.run(main()), KafkaError)
