"""Recount: the counters of one partition's log by brute force.

It keeps the events of each call in a list until the call's record is dropped. A query computes what each of these calls
counts from its list anew, and adds up; a dropped call keeps what it counted. No code is shared with the workers.

    recount = Recount(partition=0, partitions=1)
    recount.read([(0, 1_773_144_000_000, b'{"type":"call.started",...}')])
    recount.answer("u1", begin_ms, end_ms, fields=("UC", "avgTalkTime"))

The recount has no retention and no roll-up: compare no range that a worker has dropped or rolled up in part.
``clock_ms`` is the time by which silence is judged. Its default is the watermark; ``clock_at`` gives the clock of a
worker that has read the log to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecounters.recount.call import (
    RESTARTED,
    SNAPSHOT,
    WINDOW,
    Call,
    Limits,
    drop_time,
    is_suspected,
    lives,
    start_of,
)
from ecounters.recount.counters import AVERAGES, KEYS, MAPS, PAYLOAD, SUMS, value_of
from ecounters.recount.counts import counts, live_counts
from ecounters.recount.filters import matches
from ecounters.recount.parse import Bad, Event, parse, partition_of

LogRow = tuple[int, int, bytes | None]
"""(offset, Kafka's timestamp in ms, value)."""
Where = Sequence[Mapping[str, Any]]
"""The ``filter`` of a request as JSON values. Its conditions on the date have no effect."""
Answer = dict[str, dict[str, int] | int | float]
"""The counters of a reply: name -> value, or for a map its entries."""


@dataclass(frozen=True)
class Dropped:
    """A call whose record was dropped: its id, the ts (ms) of its start, and its ``call.counts`` at that moment."""

    id: str
    start: int
    counts: tuple[tuple[str, int], ...]


@dataclass
class User:
    """One account: its calls with a record, its calls whose record was dropped, the starts of its numbers, balances."""

    calls: dict[str, Call] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    starts: dict[str, list[int]] = field(default_factory=dict)
    """Telephone number -> the ts of the first call.started that was read of each call with it, in the log's order."""
    balances: list[Event] = field(default_factory=list)


class Recount:
    """The recount of one partition. ``read`` takes in the log; the other methods are queries.

    watermark  largest ts of the accepted events, in ms; 0 before the first
    arrival    Kafka's timestamp of the record accepted last, in ms; 0 before the first
    refused    (offset, reason, field) of the records that a worker must send to the dead letters
    misrouted  offsets of the records that belong to other partitions, which are not counted
    """

    def __init__(self, partition: int = 0, partitions: int = 1, limits: Limits | None = None) -> None:
        self.partition = partition
        self.partitions = partitions
        self.limits = limits or Limits()
        self.watermark = 0
        self.arrival = 0
        self.refused: list[tuple[int, str, str]] = []
        self.misrouted: list[int] = []
        self._next = 0
        self._swept = 0
        self._users: dict[str, User] = {}

    # ------------------------------------------------------------------------------------------- reading

    def read(self, records: Iterable[LogRow]) -> None:
        """Take in records in the order of the log. Later calls go on from there: offsets that were read are skipped."""
        for offset, timestamp, value in records:
            if offset < self._next:
                continue
            self._next = offset + 1
            try:
                event = parse(value)
                if "userId" in event and partition_of(event["userId"], self.partitions) != self.partition:
                    self.misrouted.append(offset)
                    continue
                # A worker may also refuse an event that is ahead of the worker's own clock. The log does not show that.
                if event["ts"] > timestamp + self.limits.clock_ahead:
                    raise Bad("clock_ahead", "ts")
                self._accept(event)
            except Bad as bad:
                self.refused.append((offset, bad.reason, bad.field))
            else:
                self.arrival = timestamp
            if self.watermark >= self._swept + self.limits.linger:
                self._drop_what_is_due()

    def _accept(self, event: Event) -> None:
        """Apply an event that belongs to this partition, and move the watermark on to its ts. Raises Bad ("late")."""
        kind = event["type"]
        if kind.startswith("switch."):
            self.watermark = max(self.watermark, event["ts"])
            self._end_calls(event)
        elif kind == "balance.updated":
            self.watermark = max(self.watermark, event["ts"])
            self._users.setdefault(event["userId"], User()).balances.append(event)
        else:
            self._add_to_call(event)
            self.watermark = max(self.watermark, event["ts"])

    def _add_to_call(self, event: Event) -> None:
        """Add an event to its call, whose record is dropped first if it is due. Raises Bad ("late").

        The watermark must be the one before this event: by it the record is due, the event late, the number remembered.
        """
        user = self._users.get(event["userId"], User())
        call = user.calls.get(event["callId"])
        if call is not None and drop_time(call, self.limits) <= self.watermark:
            self._drop(user, call)
            call = None
        if call is None:
            if event["ts"] <= self.watermark - self.limits.linger:
                raise Bad("late", "ts")
            call = user.calls[event["callId"]] = Call(event["callId"])
        # An event that comes again counts once. Two unequal events with one id are both kept: no switch sends such
        # events, and the specification does not say which is right. (``inputs_of`` counts one DTMF input for each id.)
        if event not in call.events:
            call.events.append(event)
        if event["type"] == "call.started" and not call.known:
            call.known = self._known(user, event)
        self._users[event["userId"]] = user

    def _known(self, user: User, start: Event) -> str:
        """The class of a call by ``start``, its first call.started in the log: "repeatCall", "freshCall" or "neither".

        The call is a repeat if, of the starts of its number that are remembered at the watermark, the one with the
        largest ts is at most repeat_within away. Adds ``start`` to the number's starts.
        """
        if "number" not in start:
            return "neither"
        starts = user.starts.setdefault(start["number"], [])
        remembered = [ts for ts in starts if ts >= self.watermark - self.limits.remember_number]
        starts.append(start["ts"])
        repeat = bool(remembered) and abs(start["ts"] - max(remembered)) <= self.limits.repeat_within
        return "repeatCall" if repeat else "freshCall"

    def _end_calls(self, event: Event) -> None:
        """Apply a switch.snapshot or switch.restarted: set ``system_end`` of the live calls that it says are over.

        It ends the calls of its switch, and of its user if it names one, that started no later than the event; a
        snapshot spares the calls of its callIds. The watermark must be the one after the event: by it a call lives.
        """
        status = SNAPSHOT if event["type"] == "switch.snapshot" else RESTARTED
        for user_id in [event["userId"]] if "userId" in event else list(self._users):
            for call in self._users.get(user_id, User()).calls.values():
                start = start_of(call)
                if (
                    start is not None
                    and start.get("switchId") == event["switchId"]
                    and start["ts"] <= event["ts"]
                    and call.id not in event.get("callIds", ())
                    and lives(call, self.watermark, self.limits)
                ):
                    call.system_end = event["ts"], status

    def _drop_what_is_due(self) -> None:
        """Drop all records that are due, to free memory.

        When this happens has no effect on a counter: a due call does not live, and an event of the call and each query
        of counters drop a due record before they use it.
        """
        self._swept = self.watermark
        for user in self._users.values():
            self._drop_due_of(user)

    def _drop_due_of(self, user: User) -> None:
        """Drop the records of the user's calls whose drop time the watermark has reached."""
        for call in list(user.calls.values()):
            if drop_time(call, self.limits) <= self.watermark:
                self._drop(user, call)

    def _drop(self, user: User, call: Call) -> None:
        """Drop the record of a call. What the call counts now goes to ``dropped``; without a start, that is nothing."""
        del user.calls[call.id]
        start = start_of(call)
        if start is not None:
            now = tuple(counts(call, self.watermark, self.limits))
            user.dropped.append(Dropped(call.id, start["ts"], now))

    # -------------------------------------------------------------------------------------------- queries

    def clock_at(self, wall_ms: int) -> int:
        """The clock, in ms, of a worker that has read this log to its end, at the wall time ``wall_ms``.

        It is the watermark plus the time that has passed since the arrival of the last accepted record, if any.
        """
        return self.watermark + (max(0, wall_ms - self.arrival) if self.arrival else 0)

    def users(self) -> list[str]:
        """The ids of the users with an accepted event of a call or a balance, sorted."""
        return sorted(self._users)

    def kept(self, user_id: str) -> list[str]:
        """The ids of the user's calls that have a record, sorted. Drops the user's records that are due."""
        user = self._users.get(user_id, User())
        self._drop_due_of(user)
        return sorted(user.calls)

    def suspected(self, user_id: str, clock_ms: int | None = None) -> int:
        """How many of the user's live calls have been silent for suspect_after at ``clock_ms``."""
        clock = self.watermark if clock_ms is None else clock_ms
        return sum(is_suspected(call, clock, self.limits) for call in self._users.get(user_id, User()).calls.values())

    def answer(
        self,
        user_id: str,
        begin_ms: int,
        end_ms: int,
        fields: Iterable[str] = (),
        clock_ms: int | None = None,
        where: Where = (),
    ) -> Answer:
        """The ``message`` of a worker's reply: the counters of PAYLOAD in their order, then ``fields``.

        Counters are of the calls that started in [begin_ms, end_ms), widened to whole windows, and match ``where``.
        Gauges are of all calls that match and live at ``clock_ms``; balances are the latest. Drops the user's records
        that are due. Raises ValueError if one of ``fields`` is no counter.
        """
        totals: Counter[str] = Counter()
        for _, adds in self._counted(user_id, begin_ms, end_ms, clock_ms, where):
            for name, amount in adds:
                totals[name] += amount
        balances = self._users.get(user_id, User()).balances
        return {key: value_of(key, totals, balances) for key in dict.fromkeys((*PAYLOAD, *fields))}

    def calls_behind(
        self, user_id: str, key: str, begin_ms: int, end_ms: int, clock_ms: int | None = None
    ) -> list[str]:
        """The ids of the calls that a counter counts in the range, or a gauge at ``clock_ms``, sorted.

        ``key``: a counter as "MC", or an entry of a map as "CST/16". Raises ValueError for any other key. A balance
        counts no call.
        """
        return self.calls_behind_each(user_id, [key], begin_ms, end_ms, clock_ms)[key]

    def calls_behind_each(
        self, user_id: str, keys: Iterable[str], begin_ms: int, end_ms: int, clock_ms: int | None = None
    ) -> dict[str, list[str]]:
        """``calls_behind`` for several keys at once: key -> ids of calls. Raises ValueError as it does."""
        names_of = {key: _names_behind(key) for key in keys}
        counted = list(self._counted(user_id, begin_ms, end_ms, clock_ms))
        return {key: sorted({call for call, adds in counted if _has(adds, names)}) for key, names in names_of.items()}

    def is_behind(self, user_id: str, key: str, call_id: str, begin_ms: int, end_ms: int) -> bool:
        """Whether a call that still has its record is one of ``calls_behind`` at the watermark; False without a record.

        Cheaper than ``calls_behind``, because it looks at one call. Raises ValueError for a key that is no counter and
        no entry of a map, if the call has a record.
        """
        call = self._users.get(user_id, User()).calls.get(call_id)
        return call is not None and _has(self._adds(call, begin_ms, end_ms, self.watermark), _names_behind(key))

    def _counted(
        self, user_id: str, begin_ms: int, end_ms: int, clock_ms: int | None, where: Where = ()
    ) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """Yield (id, what it adds) of the user's calls that match ``where``. Drops the records that are due first.

        A call adds to the counters if it started in the range, and to the gauges if it lives. It may add nothing.
        """
        clock = self.watermark if clock_ms is None else clock_ms
        user = self._users.get(user_id, User())
        self._drop_due_of(user)
        for gone in user.dropped:
            if _is_inside(gone.start, begin_ms, end_ms) and matches(where, _dims(gone.counts)):
                yield gone.id, list(gone.counts)
        for call in user.calls.values():
            if not where or matches(where, _dims(counts(call, clock, self.limits))):
                yield call.id, self._adds(call, begin_ms, end_ms, clock)

    def _adds(self, call: Call, begin_ms: int, end_ms: int, clock: int) -> list[tuple[str, int]]:
        """What a call with a record adds: to the counters if it started in the range, and to the gauges."""
        start = start_of(call)
        inside = start is not None and _is_inside(start["ts"], begin_ms, end_ms)
        adds = list(counts(call, clock, self.limits)) if inside else []
        return [*adds, *live_counts(call, clock, self.limits)]


def _is_inside(start: int, begin_ms: int, end_ms: int) -> bool:
    """Whether the ts of a start lies in [begin_ms, end_ms), widened to whole windows."""
    return begin_ms // WINDOW * WINDOW <= start < -(-end_ms // WINDOW) * WINDOW


def _dims(adds: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The dimensions of a call as ``filters.Dims``, read back from what ``call.counts`` gave for it."""
    entries = dict(name.split("/", 1) for name, _ in adds if "/" in name and not name.startswith("DTMF"))
    return {
        "callType": entries.get("CT", ""),
        "campaignId": entries.get("CMPID", ""),
        "did": entries.get("DID", ""),
        "status": entries.get("CST"),
    }


def _names_behind(key: str) -> tuple[str, ...]:
    """The counters or entries behind ``key``: it counts a call that adds to at least one of them.

    For an average that is its time alone. Raises ValueError if ``key`` is neither a counter nor an entry of a map.
    """
    counter = key.partition("/")[0]
    if counter not in KEYS or (counter != key and counter not in MAPS):
        raise ValueError(f"{key} is no counter and no entry of one")
    return SUMS.get(key) or AVERAGES.get(key, (key,))[:1]


def _has(adds: list[tuple[str, int]], names: tuple[str, ...]) -> bool:
    """Whether a call adds to one of ``names``: a counter, an entry of a map, or a map, meaning any of its entries."""
    return any(name == wanted or name.partition("/")[0] == wanted for name, _ in adds for wanted in names)
