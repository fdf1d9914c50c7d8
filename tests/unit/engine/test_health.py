"""A worker's health: the share of refused events in the last minute, and when the worker is not ready."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from faust.types import TP

from ecounters.calls.record import Call
from ecounters.partition.user import User
from streams.app import build
from streams.basics.times import now_ms
from streams.engine import health as health_module
from streams.engine.health import SHARE_S, SHARE_STEP_S, RefusedShare, WorkerHealth
from streams.engine.table import StateTable
from streams.settings.table import Settings
from tests.support.engine_fakes import LOG, PARTITION, PartitionFixture, balances, batch, live_fixture, new_fixture


def test_the_share_of_nothing_is_0() -> None:
    """There is no division by 0: neither at the start, nor when no event has come for a minute."""
    share = RefusedShare(100.0)
    assert share.look(100.0, 0, 0) == 0
    assert share.look(115.0, 10, 10) == 1
    assert share.look(115.0 + 2 * SHARE_S, 10, 10) == 0


#    samples every 15 s; 100 events/s; the bad ones come from 60 s to 75 s
#    0    15   30   45   60   75   90  105  120  135  150
#    |----|----|----|----|xxxx|----|----|----|----|----|
@pytest.mark.parametrize(
    ("at", "share"),
    [(15, 0), (60, 0), (75, 0.25), (90, 0.25), (120, 0.25), (135, 0), (150, 0)],
)
def test_the_share_is_that_of_the_last_minute(at: int, share: float) -> None:
    """A flood of refused events shows at once, and is forgotten a minute after it ended."""
    window = RefusedShare(0.0)
    measured = 0.0
    for now in range(15, at + 1, 15):
        measured = window.look(now, now * 100, 1_500 if now >= 75 else 0)
    assert measured == share


def test_samples_that_are_far_apart_measure_all_that_came_between_them() -> None:
    """If the last sample is older than a minute, the share is that of the whole time since."""
    window = RefusedShare(0.0)
    assert window.look(300.0, 1_000, 0) == 0
    assert window.look(600.0, 2_000, 500) == 0.5
    assert window.look(900.0, 3_000, 500) == 0


def test_only_samples_of_the_last_minute_are_kept() -> None:
    """A hundred samples a second neither fill the memory nor change the share."""
    window = RefusedShare(0.0)
    for at in range(1, 20_001):
        now = at / 100
        measured = window.look(now, at, at // 2)
        assert measured == pytest.approx(0.5, abs=0.5 / at + 0.01)
    assert len(window._samples) <= SHARE_S / SHARE_STEP_S + 2


def test_in_the_first_minute_the_share_counts_from_the_start() -> None:
    """A worker that has just started measures what it has read until now."""
    window = RefusedShare(50.0)
    assert window.look(50.5, 4, 1) == 0.25
    assert window.look(52.0, 8, 4) == 0.5


@dataclass(slots=True)
class FakeApp:
    """What Faust's app says of the group."""

    rebalancing: bool = False


def health_of(fixture: PartitionFixture, app: FakeApp | None = None) -> tuple[WorkerHealth, StateTable]:
    """The health of a worker that has the fixture's partition, and its table."""
    worker = build(Settings(advertise="127.0.0.1:1"), LOG)
    table, accounts = worker.table, worker.health.accounts
    table.owned[PARTITION] = fixture.partition
    topics, metrics = fixture.context.topics, fixture.metrics
    return WorkerHealth(app or FakeApp(), table, topics, 10_000, metrics, table.joined.is_set, accounts), table


def test_a_worker_is_ready_once_it_can_answer_and_until_it_is_stopped() -> None:
    """It has joined, and has restored what it had then. Partitions that it gets later change nothing."""

    async def run() -> None:
        async with live_fixture(position=5) as fixture:
            health, table = health_of(fixture)
            assert health.not_ready() == "this worker has not joined the others yet"
            table.joined.set()
            table.owned[PARTITION + 1] = new_fixture().partition
            assert health.not_ready() == "1 of 2 partitions are being restored"
            del table.owned[PARTITION + 1]
            assert (health.not_ready(), health.delays()) == ("", {})
            table.owned[PARTITION + 1] = new_fixture().partition
            assert (health.not_ready(), health.delays()) == ("", {"restoring": 1})
            health.stop()
            assert health.not_ready() == "this worker is being stopped"

    asyncio.run(run())


def test_lag_silence_and_rebalances_are_said_and_change_nothing() -> None:
    """All workers would be in the same state, and replies go on."""

    async def run() -> None:
        async with live_fixture(position=5) as fixture:
            app = FakeApp()
            (health, table), status = health_of(fixture, app), fixture.partition.status
            table.joined.set()
            status.last_record_ms, fixture.events.end = now_ms() - 20_000, 6
            ((name, lag_ms),) = health.delays().items()
            assert (name, health.not_ready()) == ("lag_ms", "")
            assert 20_000 <= lag_ms < 25_000
            fixture.events.end, fixture.events.age_s, app.rebalancing = 5, None, True
            assert (health.delays(), health.not_ready()) == ({"rebalancing": True, "silent": True}, "")

    asyncio.run(run())


def test_the_gauges_are_of_all_owned_partitions() -> None:
    """They are computed when the metrics are collected."""

    async def run() -> None:
        async with live_fixture() as fixture:
            health, table = health_of(fixture)
            table.owned[PARTITION + 1] = new_fixture().partition
            await fixture.partition.apply_batch(batch(0, balances(0, 3)))
            await health.collect()
            gauges = fixture.metrics.partitions
            assert [gauges.labels(status)._value.get() for status in ("live", "restoring")] == [1, 1]
            assert fixture.metrics.refused_ratio._value.get() == 0

    asyncio.run(run())


def test_the_calls_of_many_accounts_are_not_counted_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """To go through 100,000 accounts takes long, and who looks often would take the processor from the events."""
    monkeypatch.setattr(health_module, "ACCOUNTS_AT_ONCE", 2)
    monkeypatch.setattr(health_module, "PAUSE_OF_COUNTS", 1_000_000)

    async def run() -> None:
        async with live_fixture() as fixture:
            health, _ = health_of(fixture)
            kept: list[float] = []
            for _ in range(5):
                user = User(f"u{len(kept)}")
                user.calls["c1"] = Call("c1", user)
                fixture.state.users[user.id] = user
                await health.collect()
                kept.append(fixture.metrics.kept_calls._value.get())
            assert kept == [1, 2, 3, 3, 3]

    asyncio.run(run())


def values(fixture: PartitionFixture, gauge: str) -> dict[int, float]:
    """Partition -> value of a gauge by partition, as a look at the metrics sees it."""
    (family,) = getattr(fixture.metrics.by_partition, gauge).collect()
    return {int(sample.labels["partition"]): sample.value for sample in family.samples}


def test_the_gauges_by_partition_are_of_those_that_are_owned_now() -> None:
    """Lag, age, restore and changelog of each; none of one that was given up."""

    async def run() -> None:
        async with live_fixture() as fixture:
            health, table = health_of(fixture)
            table.owned[PARTITION + 1] = new_fixture().partition
            await fixture.partition.apply_batch(batch(0, balances(0, 3)))
            fixture.events.end = 10
            fixture.partition.status.last_record_ms = now_ms() - 20_000
            await health.collect()
            assert values(fixture, "lag_events") == {PARTITION: 7, PARTITION + 1: 0}
            assert 20 <= values(fixture, "lag")[PARTITION] < 25
            assert values(fixture, "newest_event") == {PARTITION: fixture.state.arrival / 1000, PARTITION + 1: 0}
            assert fixture.state.arrival > 0
            assert values(fixture, "restored") == {PARTITION: 1, PARTITION + 1: 0}
            before = values(fixture, "changelog_entries")[PARTITION]
            assert await fixture.partition.flush()
            del table.owned[PARTITION + 1]
            await health.collect()
            assert values(fixture, "changelog_entries") == {PARTITION: before + fixture.writer.written[-1].entries}
            assert fixture.writer.written[-1].entries > 1
            assert [set(values(fixture, gauge)) for gauge in ("lag_events", "restored", "commit_age")] == [
                {PARTITION}
            ] * 3

    asyncio.run(run())


def test_the_age_of_the_commit_begins_with_what_is_not_committed() -> None:
    """It is 0 once all is committed, also after a long silence, and counts from the oldest event that is not."""

    async def run() -> None:
        async with live_fixture() as fixture:
            partition, status = fixture.partition, fixture.partition.status
            status.commit_due_s -= 3_600  # an hour without an event
            assert partition.commit_age_s == 0
            await partition.flush()
            await partition.apply_batch(batch(0, balances(0, 3)))
            assert 0 < partition.commit_age_s < 60
            _, table = health_of(fixture)
            assert await partition.flush()
            status.commit_due_s -= 100
            assert 100 < partition.commit_age_s < 160
            await partition.apply_batch(batch(3, balances(3, 2)))
            table.committed({TP("events", PARTITION): 3})
            assert 0 < partition.commit_age_s < 60
            assert await partition.flush()
            table.committed({TP("events", PARTITION): 5})
            assert partition.commit_age_s == 0

    asyncio.run(run())
