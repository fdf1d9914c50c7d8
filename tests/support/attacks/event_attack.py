"""What an attack with events is: its messages, and what a worker must make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from ecounters.events.partitioner import partition_of
from tests.support.attacks.lots import Message
from tests.support.builders import T0_MS, CallScript, Event, call, encoded, event

DID: Final = "+15550001000"


@dataclass(frozen=True)
class Round:
    """One time that an attack is made: of which user, and when its first event happened.

    ``name``: in all ids of the round, so that rounds share no call.
    """

    user: str
    at_ms: int
    name: str

    def call(self, call_id: str = "c") -> CallScript:
        """A builder for a call of this round. Times are seconds after the round's begin."""
        return call(f"{self.name}-{call_id}", self.user)

    def event(self, kind: str, at: float, **fields: Any) -> Event:
        """One event that belongs to no call."""
        return event(kind, at, self.user, **fields)

    def switch(self, name: str = "s") -> str:
        """The id of a switch that no other round uses."""
        return f"{self.name}-{name}"

    def encoded(self, *given: CallScript | Event) -> Iterator[bytes]:
        """The events as messages of this round: with its times, and ids of their own."""
        for one in (e for part in given for e in (part.events if isinstance(part, CallScript) else [part])):
            yield encoded({**one, "ts": one["ts"] - T0_MS + self.at_ms, "id": self.id(one["id"])})

    def id(self, given: str) -> str:
        """An event's id, made this round's own, within 128 characters."""
        return f"{self.name}|{given}"[-128:]


Making = Callable[[Round], Iterable[bytes]]


@dataclass(frozen=True)
class EventAttack:
    """A row of events.

    ``name``, ``row``: of the function that makes the messages, and in the table of what went wrong. ``counts``: what a
    reply says of a user after one round, of these keys. ``refused``: reason -> the dead letters of one round.
    ``every_s``: the time between two rounds, when all attacks are made at once. ``lasts_s``: the messages of a round
    are spread over so long then. ``codec``: of the producer.
    ``stamp``: the present time in ms -> the producer's timestamp of its records; None: the present time.
    """

    name: str
    row: int
    messages: Making
    counts: Mapping[str, object]
    refused: Mapping[str, int] = field(default_factory=dict)
    every_s: float = 1.0
    lasts_s: float = 0.0
    codec: str | None = None
    stamp: Callable[[int], int] | None = None

    def made(self, one: Round, due_s: float = 0.0) -> Iterator[Message]:
        """The messages of a round that begins at ``due_s``, and that are spread over ``lasts_s`` from then on."""
        values = list(self.messages(one))
        stamp_ms = self.stamp and self.stamp(one.at_ms + BEFORE_MS)
        for at, value in enumerate(values):
            due = due_s + self.lasts_s * at / len(values)
            yield Message(due, ATTACKED, one.user.encode(), value, self.codec, stamp_ms)

    @property
    def user(self) -> str:
        """The user of whom the attack is made."""
        return next(users_of(f"{self.name.replace('_', '-')}-"))


BEFORE_MS: Final = 200_000
"""The events of a round happened in this time before they are published. No call lasts longer."""
PARTITIONS: Final = 4
ATTACKED: Final = 3
"""The partition of all attacks, of PARTITIONS."""


def users_of(prefix: str) -> Iterator[str]:
    """Names of users whose events are in the partition ATTACKED, without end."""
    for at in count():
        if partition_of(f"{prefix}{at}", PARTITIONS) == ATTACKED:
            yield f"{prefix}{at}"


EVENT_ATTACKS: Final[list[EventAttack]] = []
"""All of them, in the order in which they are declared."""


def row(number: int, counts: Mapping[str, object], **options: Any) -> Callable[[Making], Making]:
    """Declare a function as an attack. ``options``: further fields of EventAttack."""

    def declare(making: Making) -> Making:
        name = getattr(making, "__name__", "")
        EVENT_ATTACKS.append(EventAttack(name, number, making, counts, **options))
        return making

    return declare
