"""The consumer group: which worker owns which partition, at which address, and two repairs of aiokafka's membership.

What the assignor's bytes carry in a rebalance::

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
from typing import Any, Final

import orjson
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor import PartitionAssignor

from streams.kafka import internals

log = logging.getLogger(__name__)

SECRET_BYTES: Final = 24
EMPTY_ASSIGNMENT: Final = ConsumerProtocolMemberAssignment(0, [], b"").encode()
REJOIN_PAUSE_S: Final = 0.5
"""The pause before a member joins again that the leader did not know. The leader is busy with the same rebalance."""


def guard_coordinator(coordinator: Any, failed: Callable[[BaseException], None]) -> None:
    """Let aiokafka's GroupCoordinator survive an empty assignment, and call ``failed(error)`` if its task fails.

    A broker hands out empty bytes to a member that the leader did not know of: one that joined while the leader was
    assigning partitions. aiokafka takes them for a broken message and ends its task, and no caller learns of it. Here
    they count as an assignment without partitions, and the member joins again after REJOIN_PAUSE_S.
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


class Assignor(PartitionAssignor):
    """Faust's assignor, which also tells all workers what they need to ask one another over HTTP.

    | field            | meaning                                                         | written by               |
    |------------------|-----------------------------------------------------------------|--------------------------|
    | addresses        | partition -> URL of its owner, as of the last assignment        | on_assignment            |
    | secret           | proves that a request comes from the group; "" before the first | assign (in the leader),  |
    |                  | assignment                                                      | on_assignment            |
    | address_is_stale | the group knows another URL of this worker than its own         | on_assignment            |

    The group's first leader draws the secret. Only members that Kafka lets into the group learn it.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self.addresses: dict[int, str] = {}
        self.secret = ""
        self.address_is_stale = False

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """As the group's leader: share out the partitions, as Faust does, and add the secret for every member."""
        self.secret = self.secret or secrets.token_hex(SECRET_BYTES)
        assignments = super().assign(cluster, member_metadata)
        return {member: self._with_secret(assignment) for member, assignment in assignments.items()}

    def _with_secret(self, assignment: Any) -> Any:
        """The same assignment with the secret in its user data, which is compressed JSON."""
        user_data = orjson.loads(self._decompress(assignment.user_data)) | {"secret": self.secret}
        return ConsumerProtocolMemberAssignment(
            assignment.version, assignment.assignment, self._compress(orjson.dumps(user_data))
        )

    def on_assignment(self, assignment: Any) -> None:
        """As a member: take in an assignment. One without user data (see ``guard_coordinator``) changes nothing.

        Static membership: after a restart under the same instance id the broker returns the old assignment, with the
        old URL. Faust takes it in, and then asserts that the URL is this worker's own. The assertion is ignored, and
        ``address_is_stale`` makes the worker rejoin once.
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
