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

from ecounters.recount.behind import has, is_inside, names_behind
from ecounters.recount.call import (
    RESTARTED,
    SNAPSHOT,
    WINDOW,
    Call,
    Limits,
    drop_time,
    is_ended_by,
    is_of_next_call,
    is_one_too_many,
    is_suspected,
    reuses_id,
    start_of,
)
from ecounters.recount.counters import PAYLOAD, value_of
from ecounters.recount.counts import counts, live_counts
from ecounters.recount.filters import dims_of, matches
from ecounters.recount.parse import Bad, Event, parse, partition_of
from ecounters.recount.texts import shown

LogRow = tuple[int, int, bytes | None]
"""(offset, Kafka's timestamp in ms, value). The timestamp is 0 if the broker did not stamp the record, because the
topic keeps the producers' times (CreateTime)."""
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
    """One account: its calls with a record, its calls whose record was dropped, its numbers, its balances."""

    calls: dict[str, Call] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    last_starts: dict[str, int] = field(default_factory=dict)
    """Telephone number -> the largest ts of the starts with it. Of each call, the start that was read first counts."""
    balances: list[Event] = field(default_factory=list)


class Recount:
    """The recount of one partition. ``read`` takes in the log; the other methods are queries.

    watermark  largest ts of the accepted events, in ms; 0 before the first
    arrival    Kafka's timestamp of the record accepted last, in ms; 0 before the first. The watermark after that
               record if the broker did not stamp it
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
                if "digits" in event:
                    event["digits"] = shown(event["digits"], self.limits.dtmf_digits)
                if "userId" in event and partition_of(event["userId"], self.partitions) != self.partition:
                    self.misrouted.append(offset)
                    continue
                # A worker may also refuse an event that is ahead of the worker's own clock. The log does not show that,
                # so of records without a stamp of the broker none is refused here.
                if timestamp and event["ts"] > timestamp + self.limits.clock_ahead:
                    raise Bad("clock_ahead", "ts")
                self._accept(event)
            except Bad as bad:
                self.refused.append((offset, bad.reason, bad.field))
            else:
                self.arrival = timestamp or self.watermark
            if self.watermark >= self._swept + self.limits.linger:
                self._drop_what_is_due()

    def _accept(self, event: Event) -> None:
        """Apply an event that belongs to this partition, and move the watermark on to its ts.

        Raises Bad for an event that its call or the lack of a record refuses; then nothing that is counted is changed.
        """
        kind = event["type"]
        if "userId" in event:
            self._forget_balances(self._users.get(event["userId"], User()))
        if kind.startswith("switch."):
            self._apply_switch(event)
        elif kind == "balance.updated":
            self._users.setdefault(event["userId"], User()).balances.append(event)
        elif kind == "account.erased":
            self._users.pop(event["userId"], None)
        else:
            self._add_to_call(event)
        self.watermark = max(self.watermark, event["ts"])

    def _add_to_call(self, event: Event) -> None:
        """Add an event to its call, whose record is dropped first if it is due. Raises Bad if the event is refused.

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
            call = Call(event["callId"])
        if is_of_next_call(call, event):
            raise Bad("call_id_reused", "callId")
        if reuses_id(call, event, self.watermark, self.limits):
            call.next_call = event["ts"]
            raise Bad("call_id_reused", "callId")
        if is_one_too_many(call, event, self.limits):
            raise Bad("call_too_large", "legId" if event["type"].startswith("leg.") else "callId")
        self._users[event["userId"]] = user
        user.calls[call.id] = call
        call.add(event)
        if event["type"] == "call.started" and not call.known:
            call.known = self._known(user, event)

    def _known(self, user: User, start: Event) -> str:
        """The class of a call by ``start``, its first call.started in the log: "repeatCall", "freshCall" or "neither".

        The call is a repeat if, of the starts of its number that are remembered at the watermark, the one with the
        largest ts is at most repeat_within away. ``start`` is remembered for its number.
        """
        if "number" not in start:
            return "neither"
        last = user.last_starts.get(start["number"])
        user.last_starts[start["number"]] = max(start["ts"], last or 0)
        if last is None or last < self.watermark - self.limits.remember_number:
            return "freshCall"
        return "repeatCall" if abs(start["ts"] - last) <= self.limits.repeat_within else "freshCall"

    def _apply_switch(self, event: Event) -> None:
        """Apply a switch.snapshot or switch.restarted to the calls of its user or, without one, of all users.

        A snapshot is a heartbeat for the calls that it names and that have a record by the watermark before it, unless
        it names a further call under the id of one. Calls that it does not name may be over: see ``is_ended_by``.
        """
        before, after = self.watermark, max(self.watermark, event["ts"])
        status = SNAPSHOT if event["type"] == "switch.snapshot" else RESTARTED
        named = set(event.get("callIds", ()))
        for user_id in [event["userId"]] if "userId" in event else list(self._users):
            for call in self._users.get(user_id, User()).calls.values():
                if call.id in named:
                    if drop_time(call, self.limits) > before and not is_of_next_call(call, event):
                        call.heard = max(call.heard, event["ts"])
                elif is_ended_by(call, event, after, self.limits):
                    call.system_end = event["ts"], status

    def _forget_balances(self, user: User) -> None:
        """Forget the user's balances if they are older than keep_days, by the watermark, as are all windows with calls.

        A worker that has merged the windows of a day goes by the end of the day: it may keep the balances for up to a
        day longer than the recount.
        """
        since = self.watermark - self.limits.keep_days
        if not user.balances or any(event["ts"] >= since for event in user.balances):
            return
        starts = [gone.start for gone in user.dropped]
        starts += [start["ts"] for call in user.calls.values() if (start := start_of(call)) is not None]
        if all(start // WINDOW * WINDOW + WINDOW <= since for start in starts):
            user.balances.clear()

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

    def leave(self) -> dict[str, User]:
        """Take all accounts out, for ``moving``. What is due by the watermark is dropped and forgotten first."""
        for user in self._users.values():
            self._drop_due_of(user)
            self._forget_balances(user)
            since = self.watermark - self.limits.remember_number
            user.last_starts = {number: last for number, last in user.last_starts.items() if last >= since}
        users, self._users = self._users, {}
        return users

    def enter(self, users: Mapping[str, User], begin: int, watermark: int, arrival: int) -> None:
        """Begin with accounts that were moved here. The log is read from the offset ``begin`` on."""
        self._users.update(users)
        self._next, self.watermark, self.arrival, self._swept = begin, watermark, arrival, watermark

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
        user = self._users.get(user_id, User())
        self._forget_balances(user)
        return {key: value_of(key, totals, user.balances) for key in dict.fromkeys((*PAYLOAD, *fields))}

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
        names_of = {key: names_behind(key) for key in keys}
        counted = list(self._counted(user_id, begin_ms, end_ms, clock_ms))
        return {key: sorted({call for call, adds in counted if has(adds, names)}) for key, names in names_of.items()}

    def is_behind(self, user_id: str, key: str, call_id: str, begin_ms: int, end_ms: int) -> bool:
        """Whether a call that still has its record is one of ``calls_behind`` at the watermark; False without a record.

        Cheaper than ``calls_behind``, because it looks at one call. Raises ValueError for a key that is no counter and
        no entry of a map, if the call has a record.
        """
        call = self._users.get(user_id, User()).calls.get(call_id)
        return call is not None and has(self._adds(call, begin_ms, end_ms, self.watermark), names_behind(key))

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
            if is_inside(gone.start, begin_ms, end_ms) and matches(where, dims_of(gone.counts)):
                yield gone.id, list(gone.counts)
        for call in user.calls.values():
            if not where or matches(where, dims_of(counts(call, clock, self.limits))):
                yield call.id, self._adds(call, begin_ms, end_ms, clock)

    def _adds(self, call: Call, begin_ms: int, end_ms: int, clock: int) -> list[tuple[str, int]]:
        """What a call with a record adds: to the counters if it started in the range, and to the gauges."""
        start = start_of(call)
        inside = start is not None and is_inside(start["ts"], begin_ms, end_ms)
        adds = list(counts(call, clock, self.limits)) if inside else []
        return [*adds, *live_counts(call, clock, self.limits)]
