"""Rolling up: merges the counts of old 15-minute windows into counts of days, in the time zone of each user.

The time zones are kept in Redis. A user whose zone is not available is rolled up later; counting does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from typing import Final
from zoneinfo import ZoneInfo

from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from streams.basics.slices import Slice, TimeSlices
from streams.engine.context import WorkerContext
from streams.engine.status import PartitionStatus

log = logging.getLogger(__name__)

ROLL_UP_INTERVAL_S: Final = 300.0
"""Windows are kept for a day at least (``ECOUNTERS_KEEP_WINDOWS_H``), so a few minutes do not matter."""

ZoneOf = Callable[[str], Awaitable[ZoneInfo | None]]
"""Takes a user's id, returns the user's time zone: None if there is no such user or Redis cannot be reached.

Raises ValueError if this machine does not know the zone."""


async def roll_up_periodically(
    owned: Callable[[], Iterable[PartitionStatus]], zone_of: ZoneOf, context: WorkerContext
) -> None:
    """Roll up all owned partitions every ROLL_UP_INTERVAL_S, until cancelled. An unexpected error ends the worker."""
    try:
        while True:
            await asyncio.sleep(ROLL_UP_INTERVAL_S)
            for status in list(owned()):
                await roll_up(status, zone_of, context.slices)
    except Exception as error:
        log.exception("windows could not be made days: this must not happen")
        await context.fail(error)


async def roll_up(status: PartitionStatus, zone_of: ZoneOf, slices: TimeSlices) -> None:
    """Roll up one partition: all users with old windows whose time zone is available.

    A user whose zone this machine does not know is logged as an error and skipped. Takes ``state_lock`` for one user
    at a time, and stops when the partition is restored, frozen or released meanwhile.
    """
    state = status.state
    if state is None or not status.live:
        return
    for users in state.users.values_by_table():
        for user_id in await _due(users, state, slices):
            try:
                zone = await zone_of(user_id)
            except ValueError:
                log.exception("partition %s: windows of %r could not be made days", status.partition, user_id)
                continue
            if zone is None:
                continue
            async with status.state_lock:
                if status.frozen or status.state is not state or not status.live:
                    return
                async with Slice(slices) as time_slice:
                    if user_id in state.users:
                        with closing(state.rolling_up(user_id, zone)) as steps:
                            for _ in steps:
                                await time_slice.yield_if_used_up()


async def _due(users: Iterable[User], state: PartitionState, slices: TimeSlices) -> list[str]:
    """The ids of those users who have windows that are old enough to be rolled up."""
    due = []
    async with Slice(slices) as time_slice:
        for user in users:
            if state.due_for_roll_up(user.id):
                due.append(user.id)
            await time_slice.yield_if_used_up()
    return due
