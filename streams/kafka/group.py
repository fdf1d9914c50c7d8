"""The group of workers, as Kafka has it: who has which partition, and where; and what of aiokafka's part is mended."""

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
NOTHING: Final = ConsumerProtocolMemberAssignment(0, [], b"").encode()
JOIN_AGAIN_S: Final = 0.5


def guard_coordinator(coordinator: Any, failed: Callable[[BaseException], None]) -> None:
    """Let a coordinator of aiokafka survive an empty assignment, and call ``failed`` if its task ends by an error.

    The broker hands out empty bytes to a member that the leader has not heard of: one that joins while partitions are
    being shared out. aiokafka takes them for a broken message, gives up, and tells nobody.
    """

    def guarded(complete: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def completed(generation: int, member_id: str, protocol: str, assigned: bytes) -> None:
            await complete(generation, member_id, protocol, assigned or NOTHING)
            if not assigned:
                log.info("the group's leader has not heard of this worker yet; joining again")
                await asyncio.sleep(JOIN_AGAIN_S)
                coordinator.request_rejoin()

        return completed

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    internals.wrap_assignment(coordinator, guarded)
    internals.on_coordination_end(coordinator, ended)


class Assignor(PartitionAssignor):
    """Faust's, with what workers must know to ask one another: who is where, and what proves that one belongs.

    ``addresses``: partition -> URL of its worker, as of the last assignment. ``secret``: drawn by the group's first
    leader and told to all that Kafka lets in. ``moved``: the group knows another address of this worker than its own.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self.addresses: dict[int, str] = {}
        self.secret = ""
        self.address_is_stale = False

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """Share out the partitions, as the group's leader."""
        self.secret = self.secret or secrets.token_hex(SECRET_BYTES)
        assigned = super().assign(cluster, member_metadata)
        return {member: self._with_secret(one) for member, one in assigned.items()}

    def _with_secret(self, assigned: Any) -> Any:
        told = orjson.loads(self._decompress(assigned.user_data)) | {"secret": self.secret}
        return ConsumerProtocolMemberAssignment(
            assigned.version, assigned.assignment, self._compress(orjson.dumps(told))
        )

    def on_assignment(self, assignment: Any) -> None:
        """Take an assignment in.

        A worker may come back under its name at another address. The broker then hands out what it had for the one
        before, whose address Faust asserts to be its own, after it has taken in the rest.
        """
        if not assignment.user_data:  # that of a member which nothing was told of, see ``guard_coordinator``
            return
        with suppress(AssertionError):
            super().on_assignment(assignment)
        told = orjson.loads(self._decompress(assignment.user_data))
        self.secret = told.get("secret", self.secret)
        self.address_is_stale = told["url"] != str(self._url)
        self.addresses = {
            partition: url
            for url, topics in self.external_topics_metadata().items()
            for partitions in topics.values()  # of the one topic that there is: that of events
            for partition in partitions
        }
