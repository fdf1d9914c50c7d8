"""aiokafka's coordinator is guarded. It is a fake here, for a broker cannot be made to reply like this at will."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import pytest
from aiokafka.coordinator.protocol import (
    ConsumerProtocol,
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError

from streams.app import build
from streams.kafka import group
from streams.kafka.group import Assignor, guard_coordinator, holders_of, prefer_standbys
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


def joined(
    url: str, held: dict[int, int] | None = None, owners: dict[str, list[int]] | None = None, **more: Any
) -> Any:
    """What a member says when it joins. ``owners``: URL -> partitions, as it knows them."""
    distribution = {owner: {LOG.topic: partitions} for owner, partitions in (owners or {}).items()}
    held_of = {str(partition): position for partition, position in (held or {}).items()}
    return {"url": url, "held": held_of, "external_topic_distribution": distribution, **more}


@pytest.mark.parametrize(
    ("what", "said", "owner", "holders"),
    [
        ("it stays", [joined("a", {1: 5}, {"a": [1]}), joined("b")], "a", None),
        ("a new worker gets it", [joined("a", {1: 5}, {"a": [1]}), joined("b")], "b", ["a"]),
        ("its owner has left", [joined("b", {}, {"a": [1], "b": [0]})], "b", ["a"]),
        ("it moves again before it was restored", [joined("a", {1: 5}, {"b": [1]}), joined("b", {}, {"b": [1]}),
                                                   joined("c")], "c", ["a"]),
        ("and the first owner has left", [joined("b", {}, {"b": [1]}, holders={"1": ["a"]}), joined("c")], "c", ["a"]),
        ("it comes back to one that has an older state", [joined("a", {1: 5}, {"b": [1]}), joined("b", {1: 9})], "a",
         ["b", "a"]),
        ("it stays with one that restores, and has an older state", [joined("a", {1: 5}, {"a": [1]}),
                                                                     joined("b", {1: 9}, {"a": [1]})], "a",
         ["b", "a"]),
        ("its owner was restarted", [joined("a", {}, {"a": [1]}), joined("b", {}, {"a": [1]})], "a", None),
        ("nobody has it", [joined("a"), joined("b")], "a", None),
        ("members of a release without this", [{"url": "a"}, {"url": "b"}], "a", None),
    ],
)  # fmt: skip
def test_the_leader_tells_who_had_a_partition_that_moves(
    what: str, said: list[Any], owner: str, holders: list[str] | None
) -> None:
    """The newest state comes first; whoever is a member and says that it has none is not named."""
    assert holders_of(said, {1: owner}).get(1) == holders, what


def test_holders_reach_all_members() -> None:
    """They come with the assignment, and members report what they hold when they join."""
    assignor = cast(Assignor, build(Settings(advertise="127.0.0.1:1"), LOG).faust.assignor)
    member = assignor.metadata({LOG.topic})
    assert orjson.loads(member.user_data)["held"] == {}
    before = joined("http://old", {}, {"http://old": [0, 1, 2, 3]})
    said = orjson.loads(member.user_data) | {"external_topic_distribution": before["external_topic_distribution"]}
    member = ConsumerProtocolMemberMetadata(member.version, member.subscription, orjson.dumps(said))
    assigned = assignor.assign(Cluster(PARTITIONS), {"m1": member})
    assignor.on_assignment(ConsumerProtocolMemberAssignment.decode(assigned["m1"].encode()))
    assert assignor.holders == {partition: ["http://old"] for partition in range(PARTITIONS)}


def member(actives: list[int], *followed: int) -> dict[str, Any]:
    """What a member says of its partitions and of those that it follows."""
    return {"assignment": {"actives": {LOG.topic: actives}}, "followed": list(followed)}


@pytest.mark.parametrize(
    ("what", "members", "said", "expected"),
    [
        ("a standby has it", {0: "a", 1: "b"}, {"a": member([0], 1), "b": member([])}, {0: "a", 1: "b"}),
        ("a standby with fewer gets it", {0: "a", 1: "b", 2: "b"}, {"a": member([0], 2), "b": member([1])},
         {0: "a", 1: "b", 2: "a"}),
        ("it is exchanged", {0: "a", 1: "b", 2: "a", 3: "b"}, {"a": member([0], 3), "b": member([1], 2)},
         {0: "a", 1: "b", 2: "b", 3: "a"}),
        ("its owner is alive", {0: "b", 1: "b"}, {"a": member([], 0), "b": member([0, 1])}, {0: "b", 1: "b"}),
        ("nobody follows", {0: "a", 1: "b"}, {"a": member([]), "b": member([1])}, {0: "a", 1: "b"}),
        ("members of a release without this", {0: "a", 1: "b"}, {"a": {}, "b": {}}, {0: "a", 1: "b"}),
    ],
)  # fmt: skip
def test_a_standby_gets_the_partition_of_a_dead_worker(
    what: str, members: dict[int, str], said: dict[str, Any], expected: dict[int, str]
) -> None:
    """If the numbers of partitions stay even."""
    assert prefer_standbys(members, said) == expected, what


def test_what_a_standby_gets_is_told_to_all_members() -> None:
    """The assignment, and whose partitions are whose, agree."""
    assignor = cast(Assignor, build(Settings(advertise="127.0.0.1:1"), LOG).faust.assignor)
    said = orjson.loads(assignor.metadata({LOG.topic}).user_data)

    def joins(url: str, **more: Any) -> Any:
        actives = {"actives": {LOG.topic: more.pop("actives")}, "standbys": {}}
        content = orjson.dumps(said | {"url": url, "assignment": said["assignment"] | actives} | more)
        return ConsumerProtocolMemberMetadata(4, [LOG.topic], content)

    by_faust = assignor.assign(Cluster(4), {"m1": joins("http://a", actives=[0]), "m2": joins("http://b", actives=[1])})
    moved = next(at for _, partitions in by_faust["m1"].assignment for at in partitions if at)
    other = next(at for _, partitions in by_faust["m2"].assignment for at in partitions if at != 1)
    members = {
        "m1": joins("http://a", actives=[0], followed=[other]),
        "m2": joins("http://b", actives=[1], followed=[moved]),
    }
    assigned = assignor.assign(Cluster(4), members)
    assert {one: dict(row.assignment)[LOG.topic] for one, row in assigned.items()} == {
        "m1": sorted([0, other]), "m2": sorted([1, moved]),
    }  # fmt: skip
    for row in assigned.values():
        content = orjson.loads(assignor._decompress(row.user_data))
        assert content["assignment"]["actives"] == dict(row.assignment)
        owners = content["external_topic_distribution"]
        assert owners == {"http://a": {LOG.topic: sorted([0, other])}, "http://b": {LOG.topic: sorted([1, moved])}}
