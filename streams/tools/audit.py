"""The work of ``ecounters audit``: compares the workers' counters with a recount of the log, user by user.

Each comparison is made at one log position. A worker's reply names the position that its counters hold for, and the
recount of that partition reads on to exactly this position. So an audit is exact also while events keep coming.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from ecounters.errors import Stop
from ecounters.recount.counters import BALANCES, GAUGES, KEYS, PAYLOAD
from ecounters.recount.parse import partition_of
from ecounters.recount.recount import Recount
from ecounters.windows.calendar import HOUR_MS, WINDOW_MS, day_of
from streams.access.accounts import Accounts
from streams.basics.terminal import Progress
from streams.basics.times import now_ms
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import LogReader, LogRow, Unreadable, log_reader
from streams.settings.narrow import AuditSettings
from streams.settings.table import Settings
from streams.tools.audit_report import Difference, Options, Outcome, Range, known_zones, why_not_queried
from streams.tools.segments import EARLIER_MS, lineage_of, reading, recount_segments
from streams.tools.workers import CountersReply, Workers, http_client

FIELDS: Final = tuple(sorted(KEYS - set(PAYLOAD)))
"""The counters that a reply has only if the query names them."""
CURRENT: Final = frozenset({*GAUGES, *BALANCES})
"""Counters whose value is as of now (live calls, balances), so that they belong to no window."""
NEED_WHOLE_LOG: Final = CURRENT | {"repeatCall", "freshCall"}
"""Counters that depend on events before the compared windows. A recount of a part of the log cannot give them."""

SESSION_S: Final = 600
"""Lifetime of a session that the audit opens. The audit closes the session after use. The limit is for an audit that is
killed before."""
PASSES: Final = 3
"""A user that differs in so many passes counts as different. Without events a worker's clock stands still between two
flushes and while the worker restores, so a difference in the first pass may come from the clock alone."""

Values = tuple[object, object]
"""(the worker's value, the recount's value)."""


@dataclass(slots=True)
class _Comparison:
    """One reply compared with the recount at the same position.

    ``clock``: the recount's time now, in ms. ``compared``: how many counters were compared. ``differing``: key -> both
    values; see ``_differing``.
    """

    reply: CountersReply
    clock: int
    compared: int
    differing: dict[str, Values]

    def windowed(self) -> dict[str, Values]:
        """The differing counters that belong to windows: all but those of CURRENT, whose values are as of now."""
        return {key: values for key, values in self.differing.items() if key.partition("/")[0] not in CURRENT}

    @property
    def empty(self) -> bool:
        """Whether worker and recount agree that no call started in the range."""
        return not self.windowed() and self.reply.message.get("TC") == 0


async def run_audit(settings: Settings, urls: Sequence[str], options: Options) -> Outcome:
    """Audit the workers at ``urls``, with connections of its own to Kafka, Redis and the workers.

    Raises what ``Audit.run`` raises, and Stop if there is no topic of events, or if the state is not of it.
    """
    earlier = None if options.since_ms is None else options.since_ms - settings.clock_ahead_ms - EARLIER_MS
    lineage = await lineage_of(settings)
    accounts = Accounts.connect(settings)
    try:
        async with (
            log_reader(Kafka.of(settings), settings.topic, earlier) as reader,
            http_client(settings) as client,
        ):
            warn_of(reader.missing)
            narrow, progress = AuditSettings.of(settings), Progress("read")
            recounts = await recount_segments(settings, lineage, reader, narrow.limits, earlier, reading(progress))
            outcome = await Audit(reader, Workers(client, urls), accounts, narrow, options, recounts, progress).run()
            warn_of_unreadable(reader.unreadable)
            return outcome
    finally:
        await accounts.close()


def warn_of(missing: dict[int, int]) -> None:
    """Print a warning on stderr for each partition whose first records the broker has deleted.

    ``missing``: partition -> the first offset that is left, as in ``LogReader.missing``.
    """
    for partition, first_offset in missing.items():
        sys.stderr.write(
            f"partition {partition}: the broker has deleted what was before offset {first_offset}; the recount knows "
            "nothing of it (--from leaves it out)\n"
        )


def warn_of_unreadable(unreadable: Iterable[Unreadable]) -> None:
    """Print a line on stderr for all records that cannot be read. Workers do not count them either."""
    for partition, first_offset, last_offset, why in unreadable:
        sys.stderr.write(
            f"partition {partition}: offsets {first_offset} to {last_offset} cannot be read and are left out: {why}\n"
        )


class Audit:
    """Recounts the log that ``reader`` reads and compares it with the replies of ``workers``.

    The queries use sessions that the audit opens through ``accounts`` and closes again. Progress goes to stderr. A
    second ``run`` compares all users again. It reads on from where the first one stopped, up to the replies' positions.
    """

    def __init__(
        self,
        reader: LogReader[LogRow],
        workers: Workers,
        accounts: Accounts,
        settings: AuditSettings,
        options: Options,
        recounts: Sequence[Recount],
        progress: Progress,
    ) -> None:
        """``recounts``: of each partition, with what was counted before the topic of today."""
        self._reader = reader
        self._workers = workers
        self._accounts = accounts
        self._options = options
        # How far a worker's clock can be behind: it advances with each batch of events, and before each flush. A flush
        # comes at the latest two intervals after the last event, and takes time.
        self._slack_ms = 3 * settings.flush_interval_ms + 1_000
        self._keep_ms = settings.keep_days_ms
        self._recounts = recounts
        self._read = dict(reader.begins)
        self._progress = progress

    async def run(self) -> Outcome:
        """Read and recount the log, then compare every user of the log or of Redis that can be queried.

        A user that differs is compared again in the next pass, PASSES times in all. Raises KafkaError, RedisError, or
        Stop: the log cannot be read, a worker cannot be queried, or a user was removed meanwhile.
        """
        for partition, end in self._reader.ends.items():
            await self._read_to(partition, end)
        self._progress.end()
        accounts = {info.user_id: info for info in await self._accounts.list_users()}
        outcome = Outcome(zones=known_zones(accounts.values()))
        counted = {user_id for recount in self._recounts for user_id in recount.users()}
        for user_id in sorted(counted | accounts.keys()):
            if why := why_not_queried(accounts.get(user_id), outcome.zones):
                outcome.not_queried[user_id] = why
        queried = accounts.keys() - outcome.not_queried.keys()
        left = sorted(queried, key=lambda user_id: (self._partition(user_id), user_id))
        compared = Progress("compared", what="users")
        for attempt in range(PASSES):
            if attempt:
                await asyncio.sleep(self._slack_ms / 1000)
            last = attempt == PASSES - 1
            left = [user_id for user_id in left if not await self._audit_user(user_id, outcome, last, compared)]
            if not left:
                break
        compared.end()
        return outcome

    def _partition(self, user_id: str) -> int:
        return partition_of(user_id, self._reader.partitions)

    async def _read_to(self, partition: int, offset: int) -> None:
        """Continue the recount of a partition to before ``offset``, unless the recount has come so far already."""
        if offset <= self._read[partition]:
            return
        async for rows in self._reader.up_to(partition, offset):
            self._recounts[partition].read(rows)
            self._progress.add(len(rows))
        self._read[partition] = offset

    # ------------------------------------------------------------------------------------------- one user

    async def _audit_user(self, user_id: str, outcome: Outcome, last: bool, progress: Progress) -> bool:
        """Compare one user. Returns False if the user differs and has to be compared again in another pass.

        Otherwise adds the result to ``outcome`` and returns True, as always in the ``last`` pass. Differences are
        narrowed down to windows in the last pass only, or in every pass with ``every_window``.
        """
        zone, every = outcome.zones[user_id], self._options.every_window
        async with self._session(user_id) as ssid:
            whole = await self._compare_all(user_id, ssid, zone)
            located: list[Difference] = []
            if every or (last and whole.windowed()):
                begin = max(whole.reply.begin, day_of(now_ms() - self._keep_ms, zone)[1])
                days = list(_days(begin, whole.reply.end, zone))
                located = [difference async for difference in self._locate(user_id, ssid, days)]
        if (whole.differing or located) and not last:
            return False
        keys = {difference.key for difference in located}
        elsewhere = {key: values for key, values in whole.differing.items() if key not in keys}
        outcome.differences += [*self._differences(user_id, whole, elsewhere), *located]
        outcome.users += 1
        outcome.counters += whole.compared
        partition, position = self._partition(user_id), whole.reply.position
        lowest, highest = outcome.positions.get(partition, (position, position))
        outcome.positions[partition] = min(lowest, position), max(highest, position)
        progress.add(1)
        return True

    @asynccontextmanager
    async def _session(self, user_id: str) -> AsyncIterator[str]:
        """Yield the ssid of a new session of the user, which ends none of the user's own. It is closed at the end."""
        ssid = await self._accounts.open_session(user_id, SESSION_S, bounded=False)
        try:
            yield ssid
        finally:
            with suppress(Stop):  # it has expired
                await self._accounts.close_session(ssid)

    async def _compare_all(self, user_id: str, ssid: str, zone: ZoneInfo) -> _Comparison:
        """Compare the sum of all windows that are kept or, with ``since_ms``, of those that begin then or later."""
        end, begin = now_ms() + HOUR_MS, self._options.since_ms
        if begin is None:
            return await self._compare(user_id, ssid, {"op": "lte", "value": end})
        while True:
            comparison = await self._compare_range(user_id, ssid, begin, end)
            if comparison.reply.begin >= begin:
                return comparison
            # The worker has merged the windows of the day of ``begin``, so it replies for the whole day: start at the
            # next day.
            begin = day_of(begin, zone)[1]

    async def _locate(self, user_id: str, ssid: str, spans: list[Range]) -> AsyncIterator[Difference]:
        """Yield the differences of the smallest spans that differ, by halving ``spans``, a list of days or windows.

        A day that differs is divided into its windows, unless the worker has merged them. With ``every_window``, spans
        whose sums are equal are divided too, except those without a call.
        """
        comparison = await self._compare_range(user_id, ssid, spans[0][0], spans[-1][1])
        if comparison.empty or not (comparison.windowed() or self._options.every_window):
            return
        begin, end = spans[0]
        if len(spans) > 1:
            middle = len(spans) // 2
            halves = [spans[:middle], spans[middle:]]
        elif end - begin > WINDOW_MS and not await self._is_rolled_up(user_id, ssid, begin):
            halves = [[(at, at + WINDOW_MS) for at in range(begin, end, WINDOW_MS)]]
        else:
            for difference in self._differences(user_id, comparison, comparison.windowed()):
                yield difference
            return
        for half in halves:
            async for difference in self._locate(user_id, ssid, half):
                yield difference

    async def _is_rolled_up(self, user_id: str, ssid: str, window: int) -> bool:
        """Whether the worker has merged the window at ``window`` ms into its day: then a reply covers the whole day."""
        comparison = await self._compare_range(user_id, ssid, window, window + WINDOW_MS)
        return comparison.reply.end > window + WINDOW_MS

    # ------------------------------------------------------------------------------------------- comparing

    async def _compare_range(self, user_id: str, ssid: str, begin: int, end: int) -> _Comparison:
        return await self._compare(user_id, ssid, {"op": "between", "value": [begin, end]})

    async def _compare(self, user_id: str, ssid: str, dates: dict[str, Any]) -> _Comparison:
        """Query the counters of a range and compare them with the recount at the reply's position.

        Live and silent calls depend on the worker's clock, which the reply does not name. The clock lies between
        ``_slack_ms`` before the query and the arrival of the reply. So the recount is made at both times and, if the
        worker had not read the whole log, at the watermark. Returns the first comparison without a difference, else
        the one at the arrival.
        """
        partition = self._partition(user_id)
        body = {"ssid": ssid, "Field": FIELDS, "filter": [{"field": "date", **dates}]}
        reply = await self._workers.query(partition, self._read[partition], body)
        await self._read_to(partition, reply.position)
        recount = self._recounts[partition]
        clocks = [recount.clock_at(reply.received_ms), recount.clock_at(reply.sent_ms - self._slack_ms)]
        if not reply.at_end:
            clocks.append(recount.watermark)  # the wall clock does not count before the end of the log
        comparisons = []
        for clock in dict.fromkeys(clocks):
            recounted = recount.answer(user_id, reply.begin, reply.end, FIELDS, clock)
            keys = [key for key in recounted if self._options.since_ms is None or key not in NEED_WHOLE_LOG]
            differing = _differing(reply.message, recounted, keys)
            comparisons.append(_Comparison(reply, clock, len(keys), differing))
            if not differing:
                return comparisons[-1]
        return comparisons[0]

    def _differences(self, user_id: str, comparison: _Comparison, differing: dict[str, Values]) -> Iterator[Difference]:
        """A Difference for each key of ``differing``, with the ids of the calls behind the recount's value."""
        recount, span = self._recounts[self._partition(user_id)], (comparison.reply.begin, comparison.reply.end)
        known = [key for key in differing if key.partition("/")[0] in KEYS]
        calls = recount.calls_behind_each(user_id, known, *span, comparison.clock) if known else {}
        for key, (worker_value, recount_value) in differing.items():
            is_current = key.partition("/")[0] in CURRENT
            where = None if is_current else span
            yield Difference(user_id, where, key, worker_value, recount_value, calls.get(key, []))


def _differing(replied: dict[str, Any], recounted: dict[str, Any], keys: Iterable[str]) -> dict[str, Values]:
    """Compare ``keys`` of a reply and a recount. Returns key -> (the reply's value, the recount's) where they differ.

    An entry of a map has the key COUNTER/ENTRY, and a missing entry is 0. The order of a map's entries is compared too:
    if only the order differs, the map's key has both whole maps. If reply and recount do not have the same counters in
    the same order, the only key is "(keys)", with both lists of names.
    """
    if list(replied) != list(recounted):
        return {"(keys)": (list(replied), list(recounted))}
    differing: dict[str, Values] = {}
    for key in keys:
        ours, theirs = recounted[key], replied[key]
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            if ours != theirs:
                differing[key] = theirs, ours
        elif list(ours.items()) != list(theirs.items()):
            entries = [name for name in {**ours, **theirs} if ours.get(name, 0) != theirs.get(name, 0)]
            differing |= {f"{key}/{name}": (theirs.get(name, 0), ours.get(name, 0)) for name in entries}
            if not entries:
                differing[key] = theirs, ours
    return differing


def _days(begin: int, end: int, zone: ZoneInfo) -> Iterator[Range]:
    """The days of a time zone in [``begin``, ``end``) ms. The first and the last one may be less than a whole day."""
    while begin < end:
        after = min(day_of(begin, zone)[1], end)
        yield begin, after
        begin = after
