"""The consumer group: which worker owns which partition, at which address, and two repairs of aiokafka's membership.

What Faust's assignor, with our additions, sends through the broker in a rebalance::

    a member (every worker)                    the leader (one of the workers)
    join, with its URL, and of which     ──►   assign(): partitions for every member, and in the user data of each
    partitions it has a state, or                every member's URL and partitions, the group's secret, and who has a
    which it follows                     ◄──     state of each partition that moves
    on_assignment()
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import orjson
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor

from streams.kafka import internals
from streams.kafka.transport_app import TransportApp

log = logging.getLogger(__name__)

SECRET_BYTES: Final = 24
"""The length of the group's secret, which is sent as twice as many hexadecimal digits."""
HOLDERS_MAX: Final = 3
"""So many workers that may have a state of a partition are told to all: when workers are restarted one after the other,
a partition can move again before its owner has restored it."""
EMPTY_ASSIGNMENT: Final = ConsumerProtocolMemberAssignment(0, [], b"").encode()
"""An assignment without partitions and without user data, as Kafka's protocol writes it."""
REJOIN_PAUSE_S: Final = 0.5
"""How long a member waits before it joins again, if the leader did not know of it. The leader is still busy with the
same rebalance."""


def guard_coordinator(coordinator: Any, failed: Callable[[BaseException], None]) -> None:
    """Let aiokafka's GroupCoordinator survive an empty assignment, and call ``failed(error)`` if its task fails.

    ``coordinator`` belongs to a started consumer. A broker sends empty bytes to a member that the leader did not know
    of: one that joined while the leader was assigning partitions. aiokafka takes them for a broken message and ends
    the coordinator's task, and no caller learns of it. Guarded, the coordinator takes them for an assignment without
    partitions, and joins again after REJOIN_PAUSE_S.
    """

    def guarded(complete: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def completed(generation: int, member_id: str, protocol: str, assignment: bytes) -> None:
            await complete(generation, member_id, protocol, assignment or EMPTY_ASSIGNMENT)
            if not assignment:
                log.info("the group's leader has not heard of this worker yet; joining again")
                await asyncio.sleep(REJOIN_PAUSE_S)
                coordinator.request_rejoin()

        return completed

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    internals.wrap_assignment(coordinator, guarded)
    internals.on_coordination_end(coordinator, ended)


class BoundPartitions:
    """What Faust's assignor asks of aiokafka's cluster: the partitions of a topic. Each topic has ``count``."""

    def __init__(self, count: int) -> None:
        self._partitions = set(range(count))

    def partitions_for_topic(self, topic: str) -> set[int]:
        """The numbers of the partitions."""
        return set(self._partitions)


class Assignor(PartitionAssignor):
    """Faust's assignor, which also sends all workers the URLs and the secret for their requests to one another.

    | field            | meaning                                                         | written by               |
    |------------------|-----------------------------------------------------------------|--------------------------|
    | addresses        | partition -> URL of its owner, as of the last assignment        | on_assignment            |
    | members          | URLs of all workers, as of the last assignment                  | on_assignment            |
    | secret           | proves that a request comes from the group; "" before the first | assign (in the leader),  |
    |                  | assignment                                                      | on_assignment            |
    | address_is_stale | the last assignment has another URL for this worker than its    | on_assignment            |
    |                  | own                                                             |                          |
    | holders          | partition -> URLs of the workers that had it before its owner,  | on_assignment            |
    |                  | and may still answer from the state that they have; the newest  |                          |
    |                  | state first. Only partitions that move                          |                          |

    A leader that has no secret yet draws one. Only members that Kafka lets into the group get it.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self.addresses: dict[int, str] = {}
        self.members: set[str] = set()
        self.secret = ""
        self.address_is_stale = False
        self.holders: dict[int, list[str]] = {}

    def metadata(self, topics: set[str]) -> Any:
        """What this worker says of itself when it joins: as Faust does, of which partitions it has a state, up to
        which offset, whom it knows to have one, and which it follows as a standby."""
        metadata = super().metadata(topics)
        positions = cast(TransportApp, self.app).positions
        more = {"held": positions.states(), "holders": self.holders, "followed": positions.followed()}
        user_data = orjson.loads(metadata.user_data) | more
        content = orjson.dumps(user_data, option=orjson.OPT_NON_STR_KEYS)
        return ConsumerProtocolMemberMetadata(metadata.version, metadata.subscription, content)

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """As the group's leader: assign the partitions, as Faust does, and add the secret to all members' user data.

        The partitions are those that the states are bound to, whatever the cluster has now: one that was added since
        has no state, and one of a topic that was deleted still has its counters.
        """
        self.secret = self.secret or secrets.token_hex(SECRET_BYTES)
        partitions = cast(TransportApp, self.app).partitions
        assignments = super().assign(BoundPartitions(partitions), member_metadata)
        said = {member: orjson.loads(metadata.user_data) for member, metadata in member_metadata.items()}
        by_faust = {
            partition: member
            for member, assignment in assignments.items()
            for _, assigned in assignment.assignment
            for partition in assigned
        }
        members = prefer_standbys(by_faust, said)
        if members != by_faust:
            urls = {member: one["url"] for member, one in said.items()}
            assignments = {one: self._shared_out(one, row, members, urls) for one, row in assignments.items()}
        owners = {partition: said[member]["url"] for partition, member in members.items()}
        more = {"secret": self.secret, "holders": holders_of(list(said.values()), owners)}
        return {member: self._with(more, assignment) for member, assignment in assignments.items()}

    def _shared_out(self, member: str, assignment: Any, members: Mapping[int, str], urls: Mapping[str, str]) -> Any:
        """The assignment of a member, with the partitions that it has in ``members``: partition -> member."""
        (topic, _), *_ = assignment.assignment
        partitions = {one: sorted(at for at, of in members.items() if of == one) for one in urls}
        more = {
            "assignment": {"actives": {topic: partitions[member]}, "standbys": {}},
            "external_topic_distribution": {urls[one]: {topic: of} for one, of in partitions.items()},
        }
        given = [(topic, partitions[member])]
        return self._with(more, ConsumerProtocolMemberAssignment(assignment.version, given, assignment.user_data))

    def _with(self, more: dict[str, Any], assignment: Any) -> Any:
        """The same assignment with these fields in its user data, which is compressed JSON."""
        user_data = orjson.loads(self._decompress(assignment.user_data)) | more
        content = orjson.dumps(user_data, option=orjson.OPT_NON_STR_KEYS)
        return ConsumerProtocolMemberAssignment(assignment.version, assignment.assignment, self._compress(content))

    def on_assignment(self, assignment: Any) -> None:
        """Take in this worker's assignment; every member does, the leader too.

        An assignment without user data (see ``guard_coordinator``) changes nothing.

        With static membership, a restarted worker gets its old assignment back, with its old URL. Faust first stores
        the assignment, and then asserts that the URL is this worker's own. That AssertionError is suppressed, and with
        it the one for partitions that do not agree. ``address_is_stale`` is set instead, and ``ConsumerThread`` rejoins
        once.
        """
        if not assignment.user_data:
            return
        with suppress(AssertionError):
            super().on_assignment(assignment)
        user_data = orjson.loads(self._decompress(assignment.user_data))
        self.secret = user_data.get("secret", self.secret)
        self.address_is_stale = user_data["url"] != str(self._url)
        self.holders = {int(partition): urls for partition, urls in user_data.get("holders", {}).items()}
        distribution = self.external_topics_metadata()
        self.members = set(distribution)
        self.addresses = _partitions_of(distribution)


def prefer_standbys(members: Mapping[int, str], said: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """``members`` (partition -> the member that gets it), with a partition whose owner has left given to a standby.

    ``said``: member -> the user data with which it has joined. The numbers of partitions stay as even as they were:
    a standby gets the partition if it has fewer than who was to get it, or for another one that it was to get and does
    not follow. Else it stays one of a worker that reads it all; the standby answers meanwhile.
    """
    found = dict(members)
    followed = {member: set(one.get("followed", ())) for member, one in said.items()}
    kept = {
        partition
        for one in said.values()
        for partitions in one.get("assignment", {}).get("actives", {}).values()
        for partition in partitions
    }
    for partition in sorted(found.keys() - kept):
        if partition in followed[found[partition]]:
            continue
        counts = Counter(found.values())
        for standby in sorted((one for one in said if partition in followed[one]), key=lambda one: (counts[one], one)):
            others = [at for at in sorted(found.keys() - kept) if found[at] == standby and at not in followed[standby]]
            if counts[standby] >= counts[found[partition]] and others:
                found[others[0]] = found[partition]
            elif counts[standby] >= counts[found[partition]]:
                continue
            found[partition] = standby
            break
    return found


def holders_of(said: Sequence[Mapping[str, Any]], owners: Mapping[int, str]) -> dict[int, list[str]]:
    """partition -> URLs of the workers that have a state of it, for each partition that its owner has no state of.

    ``said``: the user data with which each member has joined. ``owners``: partition -> URL of its owner from now on. A
    member has a state if it says so. A worker that has left may have one if a member knows it as the last owner, or as
    one that had a state then. The newest state comes first. HOLDERS_MAX are kept.
    """
    members = {str(one["url"]): {int(at): int(to) for at, to in one.get("held", {}).items()} for one in said}
    found = {}
    for partition, owner in owners.items():
        last_owners = [
            url
            for one in said
            for url, topics in one.get("external_topic_distribution", {}).items()
            if any(partition in partitions for partitions in topics.values())
        ]
        earlier = [url for one in said for url in one.get("holders", {}).get(str(partition), ())]
        gone = [url for url in [*last_owners, *earlier] if url not in members]
        holding = [url for url, held in members.items() if partition in held]
        # Of equal positions the last owner's comes first. What it has may be of before, if it did not restore in time.
        holding.sort(key=lambda url: (members[url][partition], url in last_owners), reverse=True)
        # Who was the last owner, and has left, has the newest state.
        first = [url for url in last_owners if url in gone]
        urls = list(dict.fromkeys([*first[:1], *holding, *gone]))[:HOLDERS_MAX]
        if urls and urls[0] != owner:
            found[partition] = urls
    return found


def _partitions_of(distribution: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[int, str]:
    """URL -> topic -> partitions, as Faust has it, turned round: partition -> URL. There is one topic: of events."""
    return {
        partition: url
        for url, topics in distribution.items()
        for partitions in topics.values()
        for partition in partitions
    }
