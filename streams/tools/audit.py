"""The work of ``ecounters audit``: the workers' answers against a recount of the log, user by user.

The recount of a partition is read exactly as far as the answer at hand had been read; where the log goes on meanwhile,
it goes on with it. So each comparison is of one position.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

import aiohttp

from ecounters.errors import Stop
from ecounters.recount.parse import partition_of
from ecounters.recount.recount import BALANCES, GAUGES, KEYS, PAYLOAD, Recount
from ecounters.windows.calendar import HOUR_MS, WINDOW_MS, day_of
from streams.access.accounts import Accounts, UserInfo
from streams.access.store import OVERALL_COUNT
from streams.basics.terminal import Progress
from streams.basics.times import now_ms, zone_named
from streams.kafka.log_reader import LogReader, log_reader
from streams.settings.narrow import AuditSettings
from streams.settings.table import Settings
from streams.tools.workers import ANSWER_LIMIT_S, Told, Workers

FIELDS: Final = tuple(sorted(KEYS - set(PAYLOAD)))
OF_NOW: Final = frozenset({*GAUGES, *BALANCES})
"""Counters that are of no window."""
OF_BEFORE: Final = OF_NOW | {"repeatCall", "freshCall"}
"""Counters that a part of the log cannot give."""

SESSION_S: Final = 600
"""A session is closed after use; this is for when that cannot be done."""
EARLIER_MS: Final = 900_000
"""So much is read before the first window that is compared, and what a clock may be ahead: an event may come before
one of its call that it follows."""
PASSES: Final = 3
"""Who differs is asked again so often: a worker's clock stands still between two flushes, and while it restores."""

Range = tuple[int, int]
"""[begin, end) in ms."""


@dataclass(frozen=True, slots=True)
class Options:
    """``since_ms``: of windows from there on alone; ``every_window``: each by itself; ``skip_unknown``: who cannot be
    asked is no difference."""

    since_ms: int | None = None
    every_window: bool = False
    skip_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Two values of one counter or entry of a map; ``span``: None for what is of now."""

    user_id: str
    span: Range | None
    key: str
    told: object
    recounted: object
    calls: list[str]


@dataclass(slots=True)
class Outcome:
    """What an audit has found. ``at``: partition -> the first and the last position at which users were compared."""

    users: int = 0
    counters: int = 0
    not_asked: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    zones: dict[str, ZoneInfo] = field(default_factory=dict)
    at: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Look:
    """One comparison. ``clock``: of the recount; ``wrong``: key -> (told, recounted)."""

    told: Told
    clock: int
    compared: int
    wrong: dict[str, tuple[object, object]]

    def windowed(self) -> dict[str, tuple[object, object]]:
        """What is wrong in some window."""
        return {key: values for key, values in self.wrong.items() if key.partition("/")[0] not in OF_NOW}

    @property
    def empty(self) -> bool:
        """Whether both say that there is nothing."""
        return not self.windowed() and self.told.message.get("TC") == 0


async def run_audit(settings: Settings, urls: Sequence[str], options: Options) -> Outcome:
    """Audit the workers at these addresses. KafkaError, RedisError or Stop where that cannot be done."""
    earlier = None if options.since_ms is None else options.since_ms - settings.clock_ahead_ms - EARLIER_MS
    accounts = Accounts.connect(settings.redis)
    try:
        async with (
            log_reader(settings.broker, settings.topic, earlier) as reader,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S)) as client,
        ):
            warn_of(reader.missing)
            return await Audit(reader, Workers(client, urls), accounts, AuditSettings.of(settings), options).run()
    finally:
        await accounts.close()


def warn_of(missing: dict[int, int]) -> None:
    """Say on stderr what the broker has deleted of the log."""
    for partition, records in missing.items():
        sys.stderr.write(
            f"partition {partition}: the broker has deleted what was before offset {records}; the recount knows "
            "nothing of it (--from leaves it out)\n"
        )


class Audit:
    """One audit: ``run`` it once."""

    def __init__(
        self, reader: LogReader, workers: Workers, accounts: Accounts, settings: AuditSettings, options: Options
    ) -> None:
        self._reader = reader
        self._workers = workers
        self._accounts = accounts
        self._options = options
        # A worker lets time pass once a flush at least.
        self._slack_ms = 2 * settings.flush_interval_ms + 1_000
        self._keep_ms = settings.keep_days_ms
        self._recounts = {at: Recount(at, reader.partitions, settings.limits) for at in range(reader.partitions)}
        self._read = dict(reader.begins)
        self._progress = Progress("read")

    async def run(self) -> Outcome:
        """Read, recount, ask and compare. KafkaError, RedisError or Stop where that cannot be done."""
        for partition, end in self._reader.ends.items():
            await self._read_to(partition, end)
        self._progress.end()
        accounts = {info.user_id: info for info in await self._accounts.list_users()}
        outcome = Outcome(zones={one.user_id: zone_named(one.zone) for one in accounts.values()})
        counted = {user_id for recount in self._recounts.values() for user_id in recount.users()}
        for user_id in sorted(counted | accounts.keys()):
            if why := _not_askable(accounts.get(user_id)):
                outcome.not_asked[user_id] = why
        left = sorted((accounts.keys() - outcome.not_asked.keys()), key=lambda one: (self._partition(one), one))
        compared = Progress("compared", what="users")
        for attempt in range(PASSES):
            if attempt:
                await asyncio.sleep(self._slack_ms / 1000)
            left = [one for one in left if not await self._one(one, outcome, attempt == PASSES - 1, compared)]
            if not left:
                break
        compared.end()
        return outcome

    def _partition(self, user_id: str) -> int:
        return partition_of(user_id, self._reader.partitions)

    async def _read_to(self, partition: int, offset: int) -> None:
        """Recount on, as far as that."""
        if offset <= self._read[partition]:
            return
        async for rows in self._reader.up_to(partition, offset):
            self._recounts[partition].read(rows)
            self._progress.add(len(rows))
        self._read[partition] = offset

    # ------------------------------------------------------------------------------------------- one user

    async def _one(self, user_id: str, outcome: Outcome, last: bool, progress: Progress) -> bool:
        """Compare one user; whether that is done: equal, or different in the last pass too."""
        zone, every = outcome.zones[user_id], self._options.every_window
        async with self._session(user_id) as ssid:
            whole = await self._whole(user_id, ssid, zone)
            found: list[Difference] = []
            if every or (last and whole.windowed()):
                begin = max(whole.told.begin, day_of(now_ms() - self._keep_ms, zone)[1])
                days = list(_days(begin, whole.told.end, zone))
                found = [one async for one in self._narrowed(user_id, ssid, days)]
        if (whole.wrong or found) and not last:
            return False
        located = {one.key for one in found}
        own = {key: values for key, values in whole.wrong.items() if key not in located}
        outcome.differences += [*self._told_apart(user_id, whole, own), *found]
        outcome.users += 1
        outcome.counters += whole.compared
        partition, position = self._partition(user_id), whole.told.position
        first, furthest = outcome.at.get(partition, (position, position))
        outcome.at[partition] = min(first, position), max(furthest, position)
        progress.add(1)
        return True

    @asynccontextmanager
    async def _session(self, user_id: str) -> AsyncIterator[str]:
        ssid = await self._accounts.open_session(user_id, SESSION_S)
        try:
            yield ssid
        finally:
            with suppress(Stop):  # it has ended by itself
                await self._accounts.close_session(ssid)

    async def _whole(self, user_id: str, ssid: str, zone: ZoneInfo) -> _Look:
        """All windows that are kept or, with ``since_ms``, those from there on."""
        end, begin = now_ms() + HOUR_MS, self._options.since_ms
        if begin is None:
            return await self._compare(user_id, ssid, {"op": "lte", "value": end})
        while True:
            look = await self._compare(user_id, ssid, {"op": "between", "value": [begin, end]})
            if look.told.begin >= begin:
                return look
            begin = day_of(begin, zone)[1]  # days are one by now, of which only a part would be known

    async def _narrowed(self, user_id: str, ssid: str, spans: list[Range]) -> AsyncIterator[Difference]:
        """What differs in these days, by the window or, where there are none any more, by the day."""
        look = await self._between(user_id, ssid, spans[0][0], spans[-1][1])
        if look.empty or not (look.windowed() or self._options.every_window):
            return
        begin, end = spans[0]
        if len(spans) > 1:
            middle = len(spans) // 2
            parts = [spans[:middle], spans[middle:]]
        elif end - begin > WINDOW_MS and not await self._is_rolled_up(user_id, ssid, begin):
            parts = [[(at, at + WINDOW_MS) for at in range(begin, end, WINDOW_MS)]]
        else:
            for one in self._told_apart(user_id, look, look.windowed()):
                yield one
            return
        for part in parts:
            async for one in self._narrowed(user_id, ssid, part):
                yield one

    async def _is_rolled_up(self, user_id: str, ssid: str, window: int) -> bool:
        """Whether the window has gone into a day: answers are of the whole day then."""
        return (await self._between(user_id, ssid, window, window + WINDOW_MS)).told.end > window + WINDOW_MS

    # ------------------------------------------------------------------------------------------- comparing

    async def _between(self, user_id: str, ssid: str, begin: int, end: int) -> _Look:
        return await self._compare(user_id, ssid, {"op": "between", "value": [begin, end]})

    async def _compare(self, user_id: str, ssid: str, dates: dict[str, Any]) -> _Look:
        """One answer against the recount at the answer's position, at the clock that the worker may have had."""
        partition = self._partition(user_id)
        body = {"ssid": ssid, "Field": FIELDS, "filter": [{"field": "date", **dates}]}
        told = await self._workers.ask(partition, self._read[partition], body)
        await self._read_to(partition, told.position)
        recount = self._recounts[partition]
        clocks = [recount.clock_at(told.told_ms), recount.clock_at(told.asked_ms - self._slack_ms)]
        if not told.at_end:
            clocks.append(recount.watermark)
        looks = []
        for clock in dict.fromkeys(clocks):
            recounted = recount.answer(user_id, told.begin, told.end, FIELDS, clock)
            compared = [key for key in recounted if self._options.since_ms is None or key not in OF_BEFORE]
            looks.append(_Look(told, clock, len(compared), _unequal(told.message, recounted, compared)))
            if not looks[-1].wrong:
                return looks[-1]
        return looks[0]

    def _told_apart(self, user_id: str, look: _Look, wrong: dict[str, tuple[object, object]]) -> Iterator[Difference]:
        recount, span = self._recounts[self._partition(user_id)], (look.told.begin, look.told.end)
        known = [key for key in wrong if key.partition("/")[0] in KEYS]
        calls = recount.calls_behind_each(user_id, known, *span, look.clock) if known else {}
        for key, (told, recounted) in wrong.items():
            of_now = key.partition("/")[0] in OF_NOW
            yield Difference(user_id, None if of_now else span, key, told, recounted, calls.get(key, []))


def _not_askable(info: UserInfo | None) -> str:
    if info is None:
        return "no account"
    return f"{OVERALL_COUNT} is denied" if OVERALL_COUNT in info.deny else ""


def _unequal(told: dict[str, Any], recounted: dict[str, Any], keys: Iterable[str]) -> dict[str, tuple[object, object]]:
    """counter, or entry of a map -> (told, recounted), where they are not the same, the order of entries included."""
    wrong: dict[str, tuple[object, object]] = {}
    if list(told) != list(recounted):
        return {"(keys)": (list(told), list(recounted))}
    for key in keys:
        ours, theirs = recounted[key], told[key]
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            if ours != theirs:
                wrong[key] = theirs, ours
        elif list(ours.items()) != list(theirs.items()):
            entries = [name for name in {**ours, **theirs} if ours.get(name, 0) != theirs.get(name, 0)]
            wrong |= {f"{key}/{name}": (theirs.get(name, 0), ours.get(name, 0)) for name in entries}
            if not entries:
                wrong[key] = theirs, ours
    return wrong


def _days(begin: int, end: int, zone: ZoneInfo) -> Iterator[Range]:
    while begin < end:
        after = min(day_of(begin, zone)[1], end)
        yield begin, after
        begin = after
