"""What goes into a partition's state, and what comes out of it uncounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ecounters.errors import BadEvent

MISROUTED: Final = "misrouted"
"""The reason of a record that another partition counts. It is not in ``errors.REASONS``: nothing is wrong with it."""


class Misrouted(BadEvent):
    """The event of an account whose partition is another one. ``user_id``: the account."""

    def __init__(self, user_id: str) -> None:
        super().__init__(MISROUTED, "")
        self.user_id = user_id


class Record(Protocol):
    """What is asked of a log record; aiokafka's ConsumerRecord is one."""

    offset: int
    timestamp: int
    value: bytes | None


class Uncounted(NamedTuple):
    """A record that is not counted here: for the dead letters or, if MISROUTED, for the partition of ``user_id``."""

    record: Record
    reason: str
    field: str
    user_id: str = ""


@dataclass(slots=True)
class Tally:
    """What has happened since this process took the partition; for metrics."""

    accepted: int = 0
    reaped: int = 0
    orphaned: int = 0
