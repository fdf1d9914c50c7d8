"""Builders of events, calls and logs for tests.

Times in tests are seconds after ``T0_MS``, a Tuesday noon (UTC); what is stored is ms since the Unix epoch.

    call("c1").started(0).ringing(2).answered(5).ended(65, status=16).events     -> the events of a call
    Feed().take(*events).answer()                                                -> the message for u1
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from zoneinfo import ZoneInfo

from ecounters.changelog.entries import Entry, keep_last
from ecounters.counters.definitions import FIELDS
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from ecounters.query.conditions import Where
from ecounters.reports.payload import Value, message
from ecounters.reports.totals import totals_of

T0_MS = 1_773_144_000_000
"""2026-03-10T12:00:00Z."""
WIDE = (T0_MS - 30 * 86_400_000, T0_MS + 30 * 86_400_000)
"""A range around T0_MS that holds all calls of a test."""
ALL_FIELDS = tuple(sorted(FIELDS))

Event = dict[str, Any]


@dataclass(slots=True)
class LogRecord:
    """The fields of a Kafka record that the domain reads."""

    offset: int
    timestamp: int
    value: bytes | None


def ms(seconds: float) -> int:
    """Seconds of a test as ms since the Unix epoch."""
    return T0_MS + round(seconds * 1000)


def encoded(event: Event) -> bytes:
    """The event as JSON bytes."""
    return json.dumps(event, separators=(",", ":")).encode()


def event(kind: str, at: float, user: str | None = "u1", **fields: Any) -> Event:
    """One event. Equal arguments give equal events with the same id; a field given as None is left out."""
    made = {"type": kind, "ts": ms(at), "userId": user, **fields}
    made = {name: value for name, value in made.items() if value is not None}
    named = "|".join(str(made.get(name, "")) for name in ("callId", "type", "legId", "ts", "digits", "ivrId"))
    return {"id": named, **made}


class CallScript:
    """Builder of the events of one call, which may be added in any order."""

    def __init__(self, call_id: str, user: str) -> None:
        self.call_id = call_id
        self.user = user
        self.events: list[Event] = []

    def add(self, kind: str, at: float, **fields: Any) -> Self:
        """Add one event of a type."""
        self.events.append(event(kind, at, self.user, callId=self.call_id, **fields))
        return self

    def started(self, at: float = 0, kind: str = "CTC", **fields: Any) -> Self:
        """Add call.started. ``kind``: its callType; ``fields``: campaignId, did, number, switchId."""
        return self.add("call.started", at, callType=kind, **fields)

    def dialed(self, at: float, leg: str | None = None, retry: int | None = None) -> Self:
        """Add leg.dialed."""
        return self.add("leg.dialed", at, legId=leg, retry=retry)

    def ringing(self, at: float, leg: str | None = None, retry: int | None = None) -> Self:
        """Add leg.ringing."""
        return self.add("leg.ringing", at, legId=leg, retry=retry)

    def answered(self, at: float, leg: str | None = None, retry: int | None = None) -> Self:
        """Add leg.answered."""
        return self.add("leg.answered", at, legId=leg, retry=retry)

    def leg_ended(
        self, at: float, leg: str | None = None, retry: int | None = None, outcome: str | None = None
    ) -> Self:
        """Add leg.ended."""
        return self.add("leg.ended", at, legId=leg, retry=retry, outcome=outcome)

    def entered(self, at: float, ivr: str) -> Self:
        """Add ivr.entered."""
        return self.add("ivr.entered", at, ivrId=ivr)

    def left(self, at: float, ivr: str) -> Self:
        """Add ivr.left."""
        return self.add("ivr.left", at, ivrId=ivr)

    def dtmf(self, at: float, digits: str, valid: bool | None = None, ivr: str | None = None) -> Self:
        """Add dtmf.received."""
        return self.add("dtmf.received", at, digits=digits, valid=valid, ivrId=ivr)

    def held(self, at: float) -> Self:
        """Add call.held."""
        return self.add("call.held", at)

    def resumed(self, at: float) -> Self:
        """Add call.resumed."""
        return self.add("call.resumed", at)

    def heartbeat(self, at: float) -> Self:
        """Add call.heartbeat."""
        return self.add("call.heartbeat", at)

    def ended(self, at: float, status: int = 16, by: str | None = None) -> Self:
        """Add call.ended."""
        return self.add("call.ended", at, status=status, endedBy=by)


def call(call_id: str = "c1", user: str = "u1") -> CallScript:
    """A builder for a call of a user."""
    return CallScript(call_id, user)


def answer_of(
    state: PartitionState,
    user: str = "u1",
    span: tuple[int, int] = WIDE,
    fields: Iterable[str] = ALL_FIELDS,
    where: Where | None = None,
) -> dict[str, Value]:
    """The message for a user over ``span``, with ``fields``, of the calls that match ``where``."""
    return message(totals_of(state.account(user), *span, where), fields)


def restored(
    entries: Iterable[Entry], partition: int = 0, partitions: int = 1, policy: Policy | None = None
) -> PartitionState:
    """The state that a worker restores from changelog entries."""
    state, last = PartitionState(partition, partitions, policy or Policy()), dict[bytes, bytes]()
    keep_last(last, entries)
    for _ in restore(state, last):
        pass
    return state


def roll_up(state: PartitionState, user_id: str, zone: ZoneInfo) -> None:
    """Roll up the account's windows at once."""
    for _ in state.rolling_up(user_id, zone):
        pass


class Feed:
    """One partition whose state applies a log as it grows. By default an event arrives at its ts.

    ``log``: all records so far.
    """

    def __init__(self, partition: int = 0, partitions: int = 1, policy: Policy | None = None) -> None:
        self.state = PartitionState(partition, partitions, policy or Policy())
        self.log: list[LogRecord] = []

    def take(self, *events: Event | CallScript, arrived: float | None = None) -> Self:
        """Append events and apply them. AssertionError if one is refused."""
        refused = self.refused(*events, arrived=arrived)
        assert not refused, refused
        return self

    def refused(self, *events: Event | CallScript, arrived: float | None = None) -> list[tuple[str, str]]:
        """Append events and apply them; returns (reason, field) of those that are refused."""
        flat = [e for given in events for e in (given.events if isinstance(given, CallScript) else [given])]
        return self.refused_bytes([encoded(e) for e in flat], [e["ts"] for e in flat], arrived)

    def refused_bytes(
        self, values: Sequence[bytes], times: Sequence[int], arrived: float | None = None
    ) -> list[tuple[str, str]]:
        """As ``refused``, for messages as bytes that happened at ``times``."""
        begin = len(self.log)
        for value, time in zip(values, times, strict=True):
            at = ms(arrived) if arrived is not None else max(time, self.log[-1].timestamp if self.log else 0)
            self.log.append(LogRecord(len(self.log), at, value))
        wall = max((record.timestamp for record in self.log), default=0)
        refused = self.state.apply(self.log[begin:], wall)
        return [(one.reason, one.field) for one in refused]

    def clock(self, at: float) -> Self:
        """Move the watermark to that time by an event of no call, and let time pass."""
        self.take(event("balance.updated", at, "ticker", balance=0))
        return self.pass_time()

    def pass_time(self, wall: float | None = None) -> Self:
        """Let time pass: up to the watermark or, with ``wall``, up to the wall clock at the log's end."""
        self.state.advance(ms(wall or 0), at_end=wall is not None)
        return self

    def answer(self, user: str = "u1", span: tuple[int, int] = WIDE) -> dict[str, Value]:
        """The message for a user, with all Fields."""
        return answer_of(self.state, user, span)


def picked(feed: Feed, *keys: str, user: str = "u1") -> tuple[Any, ...]:
    """The values of these keys in a user's message."""
    message = feed.answer(user)
    return tuple(message[key] for key in keys)


def kept(feed: Feed, user: str = "u1") -> list[str]:
    """The ids of a user's calls that have a record, sorted."""
    found = feed.state.users.get(user)
    return sorted(found.calls) if found is not None else []


def busy_feed() -> Feed:
    """A partition whose changelog has every kind of entry: a busy live call, an ended one, one without a start."""
    script = call().started(0, "IBD", campaignId=7, did="d", number="+15550001111", switchId="s").ringing(1).answered(2)
    script.held(3).resumed(4).entered(5, "menu").dtmf(6, "1#", ivr="menu").dialed(7, "2", retry=1).heartbeat(8)
    balance = event("balance.updated", 9, balance=2.5, callBalance=3)
    return Feed().take(script, balance, call("c2").started(10).ended(11), call("w").ringing(9))
