"""The work of ``ecounters explain``: lists the calls behind a counter, and the event that counted each of them.

It works by brute force. The user's partition is recounted event by event. After each event, the recount says whether
the event's call is among the calls behind the counter. The event that counted a call is the one from which on the call
is among these calls until the end of the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ecounters.errors import Stop
from ecounters.recount.parse import parse, partition_of
from ecounters.recount.recount import Recount
from streams.access.sessions import Sessions
from streams.basics.terminal import Progress
from streams.basics.text import printable
from streams.basics.times import local_time, now_ms
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import LogRow, log_reader
from streams.settings.narrow import limits_of
from streams.settings.table import Settings
from streams.tools.audit import warn_of, warn_of_unreadable
from streams.tools.segments import lineage_of, recount_segments


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained: a counter of a user in the range [begin, end) in ms.

    ``key``: the counter's name, such as MC, or an entry of a map, such as CST/16.
    """

    user_id: str
    key: str
    begin: int
    end: int


class LoggedEvent(NamedTuple):
    """An event of the log, with its offset."""

    offset: int
    event: dict[str, Any]


class CountedCall(NamedTuple):
    """A call behind the counter.

    ``counted_by``: the event that counted the call. If ``silent``, no event did: the call was silent for the limit
    max_call_ms, and ``counted_by`` is its last event in the log.
    """

    call_id: str
    start_ms: int
    counted_by: LoggedEvent
    silent: bool


class Explanation:
    """Recounts a partition record by record with ``read``, and remembers which event counted each of the user's calls.

    ``value`` and ``calls`` give the result, for the records that were read.
    """

    def __init__(self, recount: Recount, question: Question) -> None:
        self.recount = recount
        self._question = question
        self._counted_by: dict[str, LoggedEvent] = {}
        self._last_event: dict[str, LoggedEvent] = {}
        self._starts: dict[str, int] = {}

    def read(self, row: LogRow) -> None:
        """Recount the next record of the log, and update which event counted the calls that the record can change.

        Records that are refused, misrouted or of other users are recounted without such an update.
        """
        recount, user_id = self.recount, self._question.user_id
        uncounted = len(recount.refused) + len(recount.misrouted)
        recount.read([row])
        if len(recount.refused) + len(recount.misrouted) > uncounted:
            return
        event = parse(row[2])
        if event.get("userId", user_id) != user_id:
            return
        logged = LoggedEvent(row[0], event)
        if "callId" in event:
            call_id = event["callId"]
            self._last_event[call_id] = logged
            if event["type"] == "call.started":
                self._starts[call_id] = min(event["ts"], self._starts.get(call_id, event["ts"]))
            self._update(call_id, logged)
        elif event["type"].startswith("switch."):  # it can end any call of the user, or be a heartbeat of it
            named = set(event.get("callIds", ()))
            for call_id in recount.kept(user_id):
                if call_id in named:
                    self._last_event[call_id] = logged
                self._update(call_id, logged)
        elif event["type"] == "account.erased":
            self._counted_by.clear()
            self._last_event.clear()
            self._starts.clear()

    def _update(self, call_id: str, logged: LoggedEvent) -> None:
        """Remember the event as the one that counted the call, if the call is behind the counter now and no event is
        remembered for it. If the call is not behind the counter now, forget its event.
        """
        question = self._question
        if self.recount.is_behind(question.user_id, question.key, call_id, question.begin, question.end):
            self._counted_by.setdefault(call_id, logged)
        else:
            self._counted_by.pop(call_id, None)

    def value(self, clock_ms: int) -> object:
        """The counter's value by the recount, when the clock is at ``clock_ms``."""
        question = self._question
        counter, _, entry = question.key.partition("/")
        answer = self.recount.answer(question.user_id, question.begin, question.end, (counter,), clock_ms)
        value = answer[counter]
        return value.get(entry, 0) if isinstance(value, dict) and entry else value

    def calls(self, clock_ms: int) -> Iterator[CountedCall]:
        """The calls behind the counter, sorted by start, when the clock is at ``clock_ms``."""
        question = self._question
        call_ids = self.recount.calls_behind(question.user_id, question.key, question.begin, question.end, clock_ms)
        for call_id in sorted(call_ids, key=lambda call_id: (self._starts[call_id], call_id)):
            logged = self._counted_by.get(call_id)
            yield CountedCall(call_id, self._starts[call_id], logged or self._last_event[call_id], logged is None)


@dataclass(frozen=True, slots=True)
class Explained:
    """The reply to a question: the counter's value and calls, by the records of ``partition`` before ``end_offset``.

    ``lines`` and ``total`` are the texts to print.
    """

    question: Question
    calls: list[CountedCall]
    value: object
    partition: int
    end_offset: int

    def lines(self, zone: ZoneInfo) -> Iterator[str]:
        """A line for each call: id, start, and type, time, id and offset of the event that counted it. Times are of
        ``zone``. Ids may hold anything: see ``printable``.
        """
        for call in self.calls:
            event = call.counted_by.event
            kind = f"silence after {event['type']}" if call.silent else event["type"]
            counted_by = [kind, _time_text(event["ts"], zone), printable(event["id"]), str(call.counted_by.offset)]
            yield "\t".join([printable(call.call_id), _time_text(call.start_ms, zone), *counted_by])

    def total(self, zone: ZoneInfo) -> str:
        """A line with the counter's value, the range, and the part of the log that was read."""
        question = self.question
        return (
            f"{printable(question.key)} of {printable(question.user_id)} is {self.value}, of {len(self.calls)} calls, "
            f"from {_time_text(question.begin, zone)} to {_time_text(question.end, zone)}, "
            f"partition {self.partition} up to offset {self.end_offset}"
        )


async def zone_of(settings: Settings, user_id: str) -> ZoneInfo | None:
    """A user's time zone; None if Redis has no such user or cannot be reached. Raises Stop if it is not known here."""
    sessions = Sessions.connect(settings.redis, settings.session_cache_s, settings.redis_ca)
    try:
        return await sessions.zone_of(user_id)
    except ValueError as error:
        raise Stop(
            f"the time zone of {printable(user_id)} is not known on this machine; `ecounters user zone` gives another"
        ) from error
    finally:
        await sessions.close()


async def run_explain(settings: Settings, question: Question) -> Explained:
    """Read the user's partition from its start to the end that it has when the reading begins, and explain the counter.

    The counter is explained at the present clock: a call that has been silent for too long by now counts as ended.
    Prints progress on stderr, and a warning if the broker has deleted the first records. Raises KafkaError, or Stop if
    the topic is missing or the broker stops sending.
    """

    def partition_in(partitions: int) -> int:
        return partition_of(question.user_id, partitions)

    progress, limits = Progress("read"), limits_of(settings)
    lineage = await lineage_of(settings)
    only = None if lineage.segments else partition_in  # a move needs the watermarks of the other partitions
    async with log_reader(Kafka.of(settings), settings.topic, only=only) as reader:
        warn_of(reader.missing)
        partition = partition_in(reader.partitions)
        explanation = Explanation(Recount(partition, reader.partitions, limits), question)

        def read(recount: Recount, rows: list[LogRow]) -> None:
            if recount.partition == partition_in(recount.partitions):
                explanation.recount = recount
                for row in rows:
                    explanation.read(row)
            else:
                recount.read(rows)
            progress.add(len(rows))

        recounts = await recount_segments(settings, lineage, reader, limits, None, read)
        explanation.recount = recounts[partition]
        end_offset = reader.ends[partition]
        async for rows in reader.up_to(partition, end_offset):
            for row in rows:
                explanation.read(row)
            progress.add(len(rows))
        progress.end()
        warn_of_unreadable(reader.unreadable)
    clock = explanation.recount.clock_at(now_ms())
    return Explained(question, list(explanation.calls(clock)), explanation.value(clock), partition, end_offset)


def _time_text(at_ms: int, zone: ZoneInfo) -> str:
    return local_time(at_ms, zone).isoformat(timespec="milliseconds")
