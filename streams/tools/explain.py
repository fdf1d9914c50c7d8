"""The work of ``ecounters explain``: the calls behind a number, and the event that counted each.

By brute force: a user's partition is recounted event by event, and after each it is asked whether the event's call is
one of those behind the number. The event since which it is, is the one that counted it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ecounters.recount.parse import parse, partition_of
from ecounters.recount.recount import Recount
from streams.access.sessions import Sessions
from streams.basics.terminal import Progress
from streams.basics.times import local_time, now_ms
from streams.kafka.log_reader import LogRow, log_reader
from streams.settings.narrow import limits_of
from streams.settings.table import Settings
from streams.tools.audit import warn_of


@dataclass(frozen=True, slots=True)
class Question:
    """A counter, or an entry of a map, of a user, in [begin, end) in ms."""

    user_id: str
    key: str
    begin: int
    end: int


class Mark(NamedTuple):
    """An event and its offset."""

    offset: int
    event: dict[str, Any]


class Behind(NamedTuple):
    """A call behind the number. ``by``: the event that counted it or, if ``silent``, the last one before a silence
    that did."""

    call_id: str
    start_ms: int
    by: Mark
    silent: bool


class Explanation:
    """A recount that keeps in mind what counted each call."""

    def __init__(self, recount: Recount, question: Question) -> None:
        self.recount = recount
        self._question = question
        self._since: dict[str, Mark] = {}
        self._last: dict[str, Mark] = {}
        self._starts: dict[str, int] = {}

    def take(self, row: LogRow) -> None:
        """Read the next record of the log."""
        recount, user_id = self.recount, self._question.user_id
        left_out = len(recount.refused) + len(recount.misrouted)
        recount.read([row])
        if len(recount.refused) + len(recount.misrouted) > left_out:
            return
        event = parse(row[2])
        if event.get("userId", user_id) != user_id:
            return
        mark = Mark(row[0], event)
        if "callId" in event:
            call_id = event["callId"]
            self._last[call_id] = mark
            if event["type"] == "call.started":
                self._starts[call_id] = min(event["ts"], self._starts.get(call_id, event["ts"]))
            self._note(call_id, mark)
        elif event["type"].startswith("switch."):
            for call_id in recount.kept(user_id):
                self._note(call_id, mark)

    def _note(self, call_id: str, mark: Mark) -> None:
        asked = self._question
        if not self.recount.is_behind(asked.user_id, asked.key, call_id, asked.begin, asked.end):
            self._since.pop(call_id, None)
        else:
            self._since.setdefault(call_id, mark)

    def value(self, clock_ms: int) -> object:
        """The number itself."""
        asked = self._question
        counter, _, entry = asked.key.partition("/")
        value = self.recount.answer(asked.user_id, asked.begin, asked.end, (counter,), clock_ms)[counter]
        return value.get(entry, 0) if isinstance(value, dict) and entry else value

    def calls(self, clock_ms: int) -> Iterator[Behind]:
        """The calls behind it, by their start."""
        asked = self._question
        found = self.recount.calls_behind(asked.user_id, asked.key, asked.begin, asked.end, clock_ms)
        for call_id in sorted(found, key=lambda one: (self._starts[one], one)):
            by = self._since.get(call_id)
            yield Behind(call_id, self._starts[call_id], by or self._last[call_id], by is None)


@dataclass(frozen=True, slots=True)
class Explained:
    """What was found: the calls, the number itself, and what of the log was read."""

    question: Question
    calls: list[Behind]
    value: object
    partition: int
    upto: int

    def lines(self, zone: ZoneInfo) -> Iterator[str]:
        """A line for each call."""
        for call in self.calls:
            event = call.by.event
            kind = f"silence after {event['type']}" if call.silent else event["type"]
            by = [kind, _time_of(event["ts"], zone), event["id"], str(call.by.offset)]
            yield "\t".join([call.call_id, _time_of(call.start_ms, zone), *by])

    def total(self, zone: ZoneInfo) -> str:
        """The number, and what it is of."""
        question = self.question
        return (
            f"{question.key} of {question.user_id} is {self.value}, of {len(self.calls)} calls, from "
            f"{_time_of(question.begin, zone)} to {_time_of(question.end, zone)}, partition {self.partition} up to "
            f"offset {self.upto}"
        )


async def zone_of(settings: Settings, user_id: str) -> ZoneInfo | None:
    """A user's zone; None if there is no account, or Redis cannot be asked."""
    sessions = Sessions.connect(settings.redis, settings.session_cache_s)
    try:
        return await sessions.zone_of(user_id)
    finally:
        await sessions.close()


async def run_explain(settings: Settings, question: Question) -> Explained:
    """Read the user's partition, and explain the number as of now."""

    def own(partitions: int) -> int:
        return partition_of(question.user_id, partitions)

    progress = Progress("read")
    async with log_reader(settings.broker, settings.topic, only=own) as reader:
        warn_of(reader.missing)
        partition = own(reader.partitions)
        explanation = Explanation(Recount(partition, reader.partitions, limits_of(settings)), question)
        upto = reader.ends[partition]
        async for rows in reader.up_to(partition, upto):
            for row in rows:
                explanation.take(row)
            progress.add(len(rows))
    progress.end()
    clock = explanation.recount.clock_at(now_ms())
    return Explained(question, list(explanation.calls(clock)), explanation.value(clock), partition, upto)


def _time_of(ms: int, zone: ZoneInfo) -> str:
    return local_time(ms, zone).isoformat(timespec="milliseconds")
