"""Rolling up: which users' windows become days, and what happens to users whose time zone is not available."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import pytest

from streams.basics.slices import TimeSlices
from streams.engine import roll_up as module
from streams.engine.roll_up import roll_up, roll_up_periodically
from streams.engine.status import PartitionStatus
from tests.support.builders import Feed, call
from tests.support.engine_fakes import new_fixture

DAY_S = 86_400
UTC = ZoneInfo("UTC")
ZONES = {"u1": UTC, "u2": None, "u3": UTC}


def with_old_windows(*users: str) -> PartitionStatus:
    """A live partition whose users each have a call of four days ago."""
    feed = Feed()
    for user in users:
        feed.take(call(f"c-{user}", user).started(0).answered(1).ended(60))
    feed.clock(4 * DAY_S)
    return PartitionStatus(0, state=feed.state, live=True)


def windows(status: PartitionStatus, user: str) -> int:
    """How many windows the user's counts are kept in."""
    assert status.state is not None
    return len(status.state.users[user].spans.windows)


def test_old_windows_become_days_in_the_users_zone() -> None:
    """Users without a known zone wait: those that are not in Redis, and those whose zone this machine does not know."""
    status = with_old_windows("u1", "u2", "u3", "u4")

    async def zone_of(user_id: str) -> ZoneInfo | None:
        if user_id == "u4":
            raise ValueError("no such zone")
        return ZONES[user_id]

    asyncio.run(roll_up(status, zone_of, TimeSlices(10)))
    assert [windows(status, user) > 0 for user in ("u1", "u2", "u3", "u4")] == [False, True, False, True]


@pytest.mark.parametrize("gone", ["released", "not live", "frozen"])
def test_a_partition_that_is_given_up_meanwhile_is_left_alone(gone: str) -> None:
    """While a zone is asked for a rebalance may begin, or a flush may fail: nothing is changed then."""
    status = with_old_windows("u1")
    state = status.state
    assert state is not None

    async def zone_of(user_id: str) -> ZoneInfo | None:
        if gone == "released":
            status.forget()
        status.live = status.frozen = gone == "frozen"
        return UTC

    asyncio.run(roll_up(status, zone_of, TimeSlices(10)))
    assert state.users["u1"].spans.windows


def test_an_unexpected_error_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the periodic roll-up, so its error is handed to the worker."""
    monkeypatch.setattr(module, "ROLL_UP_INTERVAL_S", 0.0)
    status = with_old_windows("u1")

    async def zone_of(user_id: str) -> ZoneInfo | None:
        raise RuntimeError("a mistake of ours")

    async def run() -> list[BaseException]:
        fixture = new_fixture()
        await roll_up_periodically(lambda: [status], zone_of, fixture.context)
        return fixture.failed

    assert [str(error) for error in asyncio.run(run())] == ["a mistake of ours"]
