"""Recount: a partition's counters once more, from its log, by brute force.

It keeps all events of every call as a list, computes whatever is asked of a call from that list each time anew, and
adds up. It shares no code with the package: what is wrong there is not wrong here for the same reason.

    recount = Recount(partition=0, partitions=1)
    recount.read([(0, 1_773_144_000_000, b'{"type":"call.started",...}')])
    recount.answer("u1", begin_ms, end_ms, fields=("UC", "avgTalkTime"))

Windows are counted however old they are: what the retention has taken from a worker's counters is to be left out of
the range. Time is the log's own; ``clock_ms`` is the watermark if none is given (and ``clock_at`` what it is later).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ecounters.recount.call import (
    RESTARTED,
    SNAPSHOT,
    WINDOW,
    Call,
    Limits,
    counts,
    drop_time,
    is_suspected,
    live_counts,
    lives,
    start_of,
)
from ecounters.recount.filters import matches
from ecounters.recount.parse import Bad, Event, parse, partition_of

LogRow = tuple[int, int, bytes | None]
"""(offset, Kafka's timestamp in ms, value)."""
Where = Sequence[Mapping[str, Any]]
"""The conditions of a request's filter; those on the date are passed over."""
Answer = dict[str, dict[str, int] | int | float]

PAYLOAD: Final = (
    "LCT", "RCMPID", "RC", "LIVR", "LDID", "cBl", "CT", "CST", "CMPID", "DID", "DTMF", "DTMFV", "DTMFI", "DTMFINV",
    "GHC", "FWC", "TRSC", "MC", "ucBl", "TC", "repeatCall", "freshCall", "CHSR", "CNC",
)  # fmt: skip
MAPS: Final = {
    "LCT", "RCMPID", "LIVR", "LDID", "CT", "CST", "CMPID", "DID", "DTMF", "DTMFV", "DTMFI", "DTMFINV",
}  # fmt: skip
GAUGES: Final = {"LCT", "RCMPID", "RC", "LIVR", "LDID"}
BALANCES: Final = {"cBl": "callBalance", "ucBl": "balance"}
SUMS: Final = {"RC": ("RCMPID",), "AC": ("CNC",), "FR_CAN_FR_PM_N": ("FR_CA_N", "FR_PM_N")}
SECONDS: Final = {"ringTime", "holdTime", "actualTT"}
AVERAGES: Final = {
    "avgRingTime": ("ringTime", "rings"),
    "avgHoldTime": ("holdTime", "holds"),
    "avgTalkTime": ("actualTT", "talks"),
}
COUNTED: Final = {
    "GHC", "FWC", "TRSC", "MC", "TC", "repeatCall", "freshCall", "CHSR", "CNC", "UC", "CM", "PM", "CA", "GH_UC",
    "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CM_N", "FR_PM_N", "FR_CA_N", "FR_GH_N",
}  # fmt: skip
KEYS: Final = frozenset(MAPS | GAUGES | set(BALANCES) | set(SUMS) | SECONDS | set(AVERAGES) | COUNTED)
"""Everything that can be asked for."""


@dataclass(frozen=True)
class Dropped:
    """What is left of a call whose record was dropped: what it counted then."""

    id: str
    start: int
    counts: tuple[tuple[str, int], ...]


@dataclass
class User:
    """One account: the calls with a record, those without one any more, and what belongs to no call."""

    calls: dict[str, Call] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    starts: dict[str, list[int]] = field(default_factory=dict)
    """number -> the ts of each start that made its call a repeat or a fresh one."""
    balances: list[Event] = field(default_factory=list)


class Recount:
    """The recount of one partition of so many."""

    def __init__(self, partition: int = 0, partitions: int = 1, limits: Limits | None = None) -> None:
        self.partition = partition
        self.partitions = partitions
        self.limits = limits or Limits()
        self.watermark = 0
        self.arrival = 0
        """Kafka's timestamp of the record accepted last."""
        self.refused: list[tuple[int, str, str]] = []
        """(offset, reason, field) of what is for the dead letters."""
        self.misrouted: list[int] = []
        """Offsets of what is for other partitions."""
        self._next = 0
        self._swept = 0
        self._users: dict[str, User] = {}

    # ------------------------------------------------------------------------------------------- reading

    def read(self, records: Iterable[LogRow]) -> None:
        """Take in records in the log's order; may be called again with more. An offset is read once."""
        for offset, timestamp, value in records:
            if offset < self._next:
                continue
            self._next = offset + 1
            try:
                event = parse(value)
                if "userId" in event and partition_of(event["userId"], self.partitions) != self.partition:
                    self.misrouted.append(offset)
                    continue
                # A worker asks its own clock too, at the time of reading; of that the log keeps nothing.
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
        """Lateness and what a number is known for go by the watermark as it was before the event."""
        user = self._users.get(event["userId"], User())
        call = user.calls.get(event["callId"])
        if call is not None and drop_time(call, self.limits) <= self.watermark:
            self._drop(user, call)
            call = None
        if call is None:
            if event["ts"] <= self.watermark - self.limits.linger:
                raise Bad("late", "ts")
            call = user.calls[event["callId"]] = Call(event["callId"])
        # What comes again is one event. Unequal ones with one id, which no switch sends, both stay (of DTMF inputs one
        # is counted for each id): which of them to believe is not said.
        if event not in call.events:
            call.events.append(event)
        if event["type"] == "call.started" and not call.known:
            call.known = self._known(user, event)
        self._users[event["userId"]] = user

    def _known(self, user: User, start: Event) -> str:
        """How the number of a call's first-seen start was known then; "last" is the largest start, not the newest."""
        if "number" not in start:
            return "neither"
        starts = user.starts.setdefault(start["number"], [])
        remembered = [ts for ts in starts if ts >= self.watermark - self.limits.remember_number]
        starts.append(start["ts"])
        repeat = bool(remembered) and abs(start["ts"] - max(remembered)) <= self.limits.repeat_within
        return "repeatCall" if repeat else "freshCall"

    def _end_calls(self, event: Event) -> None:
        """switch.snapshot, switch.restarted: end those of its calls that live, by the watermark, as it arrives."""
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
        """Only memory depends on when: whether a call still has its record is asked wherever that matters."""
        self._swept = self.watermark
        for user in self._users.values():
            self._drop_due_of(user)

    def _drop_due_of(self, user: User) -> None:
        for call in list(user.calls.values()):
            if drop_time(call, self.limits) <= self.watermark:
                self._drop(user, call)

    def _drop(self, user: User, call: Call) -> None:
        """Forget the events; what the call counts stays as it is. One that still waits for its start counts nothing."""
        del user.calls[call.id]
        start = start_of(call)
        if start is not None:
            now = tuple(counts(call, self.watermark, self.limits))
            user.dropped.append(Dropped(call.id, start["ts"], now))

    # -------------------------------------------------------------------------------------------- asking

    def clock_at(self, wall_ms: int) -> int:
        """The clock of a worker that has read to the end of the log, at that wall time."""
        return self.watermark + (max(0, wall_ms - self.arrival) if self.arrival else 0)

    def users(self) -> list[str]:
        """The users of whom anything was accepted, in order."""
        return sorted(self._users)

    def kept(self, user_id: str) -> list[str]:
        """The ids of the user's calls that a record is kept of, in order."""
        user = self._users.get(user_id, User())
        self._drop_due_of(user)
        return sorted(user.calls)

    def suspected(self, user_id: str, clock_ms: int | None = None) -> int:
        """How many of the user's live calls have been silent for long."""
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
        """The ``message`` of an answer: the payload's keys in order, then the fields asked for.

        Counted are the calls whose start's window begins in [begin_ms, end_ms), widened to whole windows, and for which
        the conditions of ``where`` hold.
        """
        totals: Counter[str] = Counter()
        for _, adds in self._counted(user_id, begin_ms, end_ms, clock_ms, where):
            for name, amount in adds:
                totals[name] += amount
        balances = self._users.get(user_id, User()).balances
        return {key: _value(key, totals, balances) for key in dict.fromkeys((*PAYLOAD, *fields))}

    def calls_behind(
        self, user_id: str, key: str, begin_ms: int, end_ms: int, clock_ms: int | None = None
    ) -> list[str]:
        """The ids of the calls that a counter's value comes from; ``key``: "MC", or an entry of a map, "CST/16"."""
        return self.calls_behind_each(user_id, [key], begin_ms, end_ms, clock_ms)[key]

    def calls_behind_each(
        self, user_id: str, keys: Iterable[str], begin_ms: int, end_ms: int, clock_ms: int | None = None
    ) -> dict[str, list[str]]:
        """``calls_behind`` of several at once."""
        parts = {key: _parts(key) for key in keys}
        counted = list(self._counted(user_id, begin_ms, end_ms, clock_ms))
        return {key: sorted({call for call, adds in counted if _has(adds, names)}) for key, names in parts.items()}

    def is_behind(self, user_id: str, key: str, call_id: str, begin_ms: int, end_ms: int) -> bool:
        """Whether a call that has its record is one of ``calls_behind``, by the watermark."""
        call = self._users.get(user_id, User()).calls.get(call_id)
        return call is not None and _has(self._adds(call, begin_ms, end_ms, self.watermark), _parts(key))

    def _counted(
        self, user_id: str, begin_ms: int, end_ms: int, clock_ms: int | None, where: Where = ()
    ) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """(call, what it adds) of every call; to the counters only if it started in the range."""
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
        start = start_of(call)
        inside = start is not None and _is_inside(start["ts"], begin_ms, end_ms)
        adds = list(counts(call, clock, self.limits)) if inside else []
        return [*adds, *live_counts(call, clock, self.limits)]


def _is_inside(start: int, begin_ms: int, end_ms: int) -> bool:
    """Whether a call that started then is counted in that range, widened to whole windows."""
    return begin_ms // WINDOW * WINDOW <= start < -(-end_ms // WINDOW) * WINDOW


def _dims(adds: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """What a filter asks of a call, from what the call adds."""
    entries = dict(name.split("/", 1) for name, _ in adds if "/" in name and not name.startswith("DTMF"))
    return {
        "callType": entries.get("CT", ""),
        "campaignId": entries.get("CMPID", ""),
        "did": entries.get("DID", ""),
        "status": entries.get("CST"),
    }


def _parts(key: str) -> tuple[str, ...]:
    """What a call must add to be behind a counter or an entry of a map."""
    counter = key.partition("/")[0]
    if counter not in KEYS or (counter != key and counter not in MAPS):
        raise ValueError(f"{key} is no counter and no entry of one")
    return SUMS.get(key) or AVERAGES.get(key, (key,))[:1]


def _has(adds: list[tuple[str, int]], names: tuple[str, ...]) -> bool:
    return any(name == wanted or name.partition("/")[0] == wanted for name, _ in adds for wanted in names)


# -------------------------------------------------------------------------------------------------- printing


def _value(key: str, totals: Counter[str], balances: list[Event]) -> dict[str, int] | int | float:
    if key in BALANCES:
        told = [event for event in balances if BALANCES[key] in event]
        return _printed(max(told, key=lambda e: (e["ts"], e["id"]))[BALANCES[key]]) if told else 0
    if key in AVERAGES:
        time, number = AVERAGES[key]
        return _printed(round(totals[time] / totals[number] / 1000, 3)) if totals[number] else 0
    if key in SECONDS:
        return _printed(round(totals[key] / 1000, 3))
    if key in MAPS:
        return _map(key, totals)
    if key in SUMS:
        return sum(sum(_map(part, totals).values()) if part in MAPS else totals[part] for part in SUMS[key])
    if key not in COUNTED:
        raise ValueError(f"{key} is no counter")
    return totals[key]


def _map(key: str, totals: Counter[str]) -> dict[str, int]:
    """Whole numbers first, ascending by value, then the others in code point order; without zeros."""
    entries = {name.removeprefix(key + "/"): n for name, n in totals.items() if name.startswith(key + "/") and n}
    whole = [name for name in entries if re.fullmatch("-?[0-9]+", name)]
    order = sorted(whole, key=lambda name: (int(name), name)) + sorted(set(entries) - set(whole))
    return {name: entries[name] for name in order}


def _printed(number: int | float) -> int | float:
    return int(number) if number == int(number) else number
