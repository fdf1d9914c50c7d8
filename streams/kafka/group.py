"""The consumer group: which worker owns which partition, at which address, and two repairs of aiokafka's membership.

What Faust's assignor, with our additions, sends through the broker in a rebalance::

    a member (every worker)                    the leader (one of the workers)
    join, with its URL                   ──►   assign(): partitions for every member, and in the user data of each
    on_assignment()                      ◄──     every member's URL and partitions, and the group's secret
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast

import orjson
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor import PartitionAssignor

from streams.kafka import internals
from streams.kafka.transport_app import TransportApp

log = logging.getLogger(__name__)

SECRET_BYTES: Final = 24
"""The length of the group's secret, which is sent as twice as many hexadecimal digits."""
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
    | secret           | proves that a request comes from the group; "" before the first | assign (in the leader),  |
    |                  | assignment                                                      | on_assignment            |
    | address_is_stale | the last assignment has another URL for this worker than its    | on_assignment            |
    |                  | own                                                             |                          |

    A leader that has no secret yet draws one. Only members that Kafka lets into the group get it.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self.addresses: dict[int, str] = {}
        self.secret = ""
        self.address_is_stale = False

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """As the group's leader: assign the partitions, as Faust does, and add the secret to all members' user data.

        The partitions are those that the states are bound to, whatever the cluster has now: one that was added since
        has no state, and one of a topic that was deleted still has its counters.
        """
        self.secret = self.secret or secrets.token_hex(SECRET_BYTES)
        assignments = super().assign(BoundPartitions(cast(TransportApp, self.app).partitions), member_metadata)
        return {member: self._with_secret(assignment) for member, assignment in assignments.items()}

    def _with_secret(self, assignment: Any) -> Any:
        """The same assignment with the secret in its user data, which is compressed JSON."""
        user_data = orjson.loads(self._decompress(assignment.user_data)) | {"secret": self.secret}
        return ConsumerProtocolMemberAssignment(
            assignment.version, assignment.assignment, self._compress(orjson.dumps(user_data))
        )

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
        self.addresses = {
            partition: url
            for url, topics in self.external_topics_metadata().items()
            for partitions in topics.values()  # there is one topic: that of events
            for partition in partitions
        }
