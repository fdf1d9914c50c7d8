"""``AccountLooks``: brings the metrics of single accounts up to date, in time slices, for each look at the metrics.

Only a worker that answers for an account has series of it: the owner of its partition.

A series of a counter must fall at midnight alone: ``rate`` takes a fall for a restart, and all that is left for new.
But a correction can take a call back: one that was missed gets its answer late. So the highest number of the day is
shown until calls make up for the correction.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final
from zoneinfo import ZoneInfo

from ecounters.partition.user import User
from ecounters.query.dates import time_range
from ecounters.reports.day import DayReading
from streams.basics.slices import Slice, TimeSlices
from streams.basics.times import now_ms
from streams.engine.roll_up import ZoneOf
from streams.engine.table import StateTable
from streams.engine.view import GroupDirectory, PartitionView
from streams.metrics.accounts import CAP, NO_ZONE, AccountSeries, Series, series_of
from streams.settings.narrow import AccountSettings

log = logging.getLogger(__name__)

VALUES_MAX: Final = 50
"""So many types, so many campaigns and so many DIDs of an account have series of live calls."""
LOOK_LIMIT_S: Final = 4.0
"""A look at the metrics waits so long for the accounts, and then shows what it has: Prometheus' own limit is 10 s."""
USERS_STEP: Final = 1_000
"""So many accounts are looked at before other tasks run: in less than 1 ms."""
ZONE_S: Final = 300.0
"""So long a time zone is used before it is asked for again."""
RETRY_S: Final = 15.0
"""So long nobody asks for a time zone again that could not be had."""
ZONES_AT_ONCE: Final = 100
"""So many time zones are asked for at a time."""


@dataclass(slots=True)
class _Shown:
    """What is shown of an account. ``span``: its day, until now. ``highest``: the counters of the day, key -> amount.

    ``user``: as it was looked at; to keep it keeps no calls in memory, as one that is not used any more is emptied.
    """

    user: User
    version: int
    span: tuple[int, int]
    highest: dict[str, int] = field(default_factory=dict)
    series: Series = field(default_factory=dict)


class AccountLooks:
    """Chooses accounts by the settings, and shows their series. ``zone_of``: a user's time zone."""

    def __init__(
        self,
        settings: AccountSettings,
        table: StateTable,
        directory: GroupDirectory,
        zone_of: ZoneOf,
        slices: TimeSlices,
        series: AccountSeries,
    ) -> None:
        self._settings = settings
        self._table = table
        self._directory = directory
        self._zone_of = zone_of
        self._slices = slices
        self._series = series
        self._shown: dict[str, _Shown] = {}
        self._zones: dict[str, tuple[ZoneInfo | None, float]] = {}  # (zone, when it is asked for, in monotonic s)
        self._look: asyncio.Task[None] | None = None

    async def collect(self) -> None:
        """Bring the series up to date; after LOOK_LIMIT_S show what there is, while the look goes on."""
        if not self._settings.names and not self._settings.all:
            return
        look = self._look = self._look or asyncio.create_task(self._look_at_all(), name="look at accounts")
        await asyncio.wait([look], timeout=LOOK_LIMIT_S)
        for account, shown in list(self._shown.items()):
            view = self._directory.view_of(account)
            if view is None or shown.user.erased or account not in view.state.users:
                del self._shown[account]
        self._series.show(self._shown[account].series for account in sorted(self._shown))
        if look.done():
            self._look = None if self._look is look else self._look
            look.result()

    async def _look_at_all(self) -> None:
        """Choose accounts, and look at one after the other."""
        accounts, over = await self._choose()
        zones = await self._zones_of(accounts)
        self._series.left_out(CAP, over)
        self._series.left_out(NO_ZONE, len(accounts) - len(zones))
        for account in self._shown.keys() - zones.keys():
            del self._shown[account]
        for account, zone in zones.items():
            await self._look_at(account, zone)

    async def _choose(self) -> tuple[list[str], int]:
        """(the accounts to show, how many more there are). Those that are shown stay; then those with most calls."""
        if not self._settings.all:
            return [name for name in self._settings.names if self._view_of(name) is not None], 0
        chosen: list[tuple[bool, int, str]] = []
        number = 0
        for partition in list(self._table.owned.values()):
            state = partition.status.state
            if state is None or not partition.status.answering:
                continue
            users = chain.from_iterable(state.users.values_by_table())
            while some := list(islice(users, USERS_STEP)):
                rows = [(user.id not in self._shown, -len(user.calls), user.id) for user in some]
                number += len(rows)
                chosen = heapq.nsmallest(self._settings.most, chosen + rows)
                await asyncio.sleep(0)
        return [account for _, _, account in chosen], number - len(chosen)

    def _view_of(self, account: str) -> PartitionView | None:
        """The partition of an account for which this worker answers and of which something was counted."""
        view = self._directory.view_of(account)
        return view if view is not None and account in view.state.users else None

    async def _zones_of(self, accounts: list[str]) -> Mapping[str, ZoneInfo]:
        """The time zones of those accounts for which one is known."""
        now_s = time.monotonic()
        due = [account for account in accounts if self._zones.get(account, (None, 0.0))[1] <= now_s]
        for begin in range(0, len(due), ZONES_AT_ONCE):
            await asyncio.gather(*(self._ask_zone(account) for account in due[begin : begin + ZONES_AT_ONCE]))
        self._zones = {account: self._zones[account] for account in accounts}
        return {account: zone for account, (zone, _) in self._zones.items() if zone is not None}

    async def _ask_zone(self, account: str) -> None:
        known = self._zones.get(account, (None, 0.0))[0]
        try:
            zone = await self._zone_of(account)
        except ValueError:
            log.exception("there are no metrics of account %r: its time zone", account)
            zone = None
        again_s = time.monotonic() + (RETRY_S if zone is None else ZONE_S)
        self._zones[account] = zone or known, again_s

    async def _look_at(self, account: str, zone: ZoneInfo) -> None:
        """Bring the series of one account up to date, if it has changed since the last look."""
        view = self._view_of(account)
        if view is None:
            return
        async with view.state_lock:
            again = self._view_of(account)
            if again is None or again.state is not view.state:
                return
            user = view.state.account(account)
            assert user is not None  # the view has it
            span = time_range((), zone, now_ms(), self._settings.keep_ms)
            day = DayReading(*span, VALUES_MAX)
            shown = self._shown.get(account)
            async with Slice(self._slices) as time_slice:
                for _ in user.settling():
                    await time_slice.yield_if_used_up()
                if shown is not None and (shown.user, shown.version, shown.span) == (user, user.version, span):
                    return
                version = user.version
                for _ in day.read(user):
                    await time_slice.yield_if_used_up()
        async with Slice(self._slices) as time_slice:
            for _ in day.add_up():
                await time_slice.yield_if_used_up()
        same_day = shown is not None and shown.span[0] == span[0] and not shown.user.erased
        before = shown.highest if shown is not None and same_day else {}
        highest = {key: max(amount, before.get(key, 0)) for key, amount in day.counts.items()}
        self._shown[account] = _Shown(user, version, span, highest, series_of(account, day, highest))
