"""The values that go into and out of a partition's state: records in, uncounted records and a tally out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Struct

from ecounters.errors import BadEvent

MISROUTED: Final = "misrouted"
"""The reason of a record that another partition must count. It is not in ``errors.REASONS``: the event is valid."""


class Misrouted(BadEvent):
    """Raised for an event of an account that belongs to another partition. ``user_id``: the id of the account."""

    def __init__(self, user_id: str) -> None:
        super().__init__(MISROUTED, "")
        self.user_id = user_id


class Record(Protocol):
    """A record of the events topic; aiokafka's ConsumerRecord is one.

    ``timestamp``: when the broker appended the record, in ms; 0 if the topic keeps the producers' times instead.
    """

    offset: int
    timestamp: int
    value: bytes | None


class Uncounted(Struct, gc=False, frozen=True):
    """A record that a partition's state did not count.

    If ``reason`` is MISROUTED the record must be published to the partition of ``user_id``. Otherwise ``reason`` is a
    key of ``errors.REASONS`` and ``field`` the event's field that is wrong ("": the whole message), ``user_id`` is "",
    and the record must go to the dead letters.
    """

    record: Record
    reason: str
    field: str
    user_id: str = ""


@dataclass(slots=True)
class Tally:
    """Counts since this state was made, which is at each restore; they are not saved. The worker's metrics show them.

    ``accepted``: events applied. ``reaped``: how often a call became REAPED; a call that was heard of again may do so a
    second time. ``orphaned``: records that were dropped without a call.started.
    """

    accepted: int = 0
    reaped: int = 0
    orphaned: int = 0
