"""What becomes of a state that a restore or a release replaces: it is emptied, once nobody is amid a step with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from sys import getallocatedblocks

from streams.engine.discarding import discard
from streams.kafka.changelog_writer import NotWritten
from tests.support.builders import CallScript, Feed, call, event, ms
from tests.support.engine_fakes import (
    PARTITION,
    PARTITIONS,
    USER,
    WAIT_S,
    PartitionFixture,
    balances,
    batch,
    new_fixture,
    on_live,
)

LIVE = 20_000


def live_calls(count: int) -> list[CallScript]:
    """So many live calls of USER at one switch."""
    return [call(f"c{n}", USER).started(n / 100, switchId="s") for n in range(count)]


def fed(count: int) -> Feed:
    """A feed that has counted as many calls."""
    return Feed(PARTITION, PARTITIONS).take(*live_calls(count))


async def soon(condition: Callable[[], object]) -> None:
    """Let the other tasks go on until the condition is true, and no further."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what makes it true are steps in between
            await asyncio.sleep(0)


async def all_discarded(fixture: PartitionFixture) -> None:
    """Wait until nothing is being discarded."""
    await fixture.until(lambda: not fixture.context.discards)


def test_restores_and_releases_leave_no_calls_in_memory() -> None:
    """Of each state with 20,000 live calls: one needed some 10 MB for ever."""
    entries = list(fed(LIVE).state.take_changes())

    async def rounds(count: int) -> None:
        for _ in range(count):
            fixture = new_fixture()
            fixture.changelog.entries = entries
            fixture.partition.start()
            await fixture.until(lambda: fixture.partition.status.live)  # noqa: B023
            failed = fixture.state
            fixture.writer.fail = NotWritten("fenced")
            assert not await fixture.partition.flush(always=True)
            del failed
            await fixture.until(lambda: fixture.partition.status.live)  # noqa: B023
            assert len(fixture.state.users[USER].calls) == LIVE
            await fixture.partition.release()
            await all_discarded(fixture)
            assert not fixture.failed

    asyncio.run(rounds(1))
    before = getallocatedblocks()
    asyncio.run(rounds(3))
    assert getallocatedblocks() - before < LIVE


def test_a_partition_that_is_released_amid_a_switchs_event_fails_nowhere() -> None:
    """The event has ended some of the calls; its steps go no further, and then the state is emptied."""

    async def work(fixture: PartitionFixture) -> None:
        state = fixture.state
        events = [one for script in live_calls(5_000) for one in script.events]
        await fixture.partition.apply_batch(batch(0, events))
        restart = event("switch.restarted", 100, None, switchId="s")
        applying = asyncio.create_task(fixture.partition.apply_batch(batch(5_000, [restart])))
        calls = list(state.users[USER].calls.values())
        await soon(lambda: calls[-1].system_end)
        assert not calls[0].system_end
        await fixture.partition.release()
        assert state.users
        await applying
        await all_discarded(fixture)
        assert (len(state.users), state.position, fixture.failed) == (0, 5_000, [])
        assert not calls[0].system_end

    on_live(work, slice_ms=0)


def test_a_partition_that_is_released_while_records_are_dropped_fails_nowhere() -> None:
    """All its calls are due. The rest of the work is done before the state is emptied."""

    async def work(fixture: PartitionFixture) -> None:
        state = fixture.state
        events = [one for script in live_calls(2_000) for one in script.ended(30).events]
        await fixture.partition.apply_batch(batch(0, events))
        state.watermark = ms(100_000)
        user = state.users[USER]
        applying = asyncio.create_task(fixture.partition.apply_batch(batch(4_000, [], end=4_001)))
        await soon(lambda: len(user.calls) < 2_000)
        await fixture.partition.release()
        assert user.calls
        await applying
        await all_discarded(fixture)
        assert (len(state.users), len(user.calls), fixture.failed) == (0, 0, [])

    on_live(work, slice_ms=0)


def test_a_flush_that_is_under_way_at_the_release_writes_all_or_nothing() -> None:
    """Before a revoke it may take too long, so that nobody waits for it any more. It never sees an emptied state."""

    async def work(fixture: PartitionFixture) -> None:
        state, writer = fixture.state, fixture.writer
        events = [one for script in live_calls(2_000) for one in script.events]
        await fixture.partition.apply_batch(batch(0, events))
        flush = asyncio.create_task(fixture.partition.flush())
        await soon(lambda: state.changes.in_steps)
        await fixture.partition.release()
        await flush
        await all_discarded(fixture)
        assert [outbox.entries for outbox in writer.written] == [2_000 + 2]  # a cell, the position
        assert (len(state.users), fixture.failed) == (0, [])

    on_live(work, slice_ms=0)


def test_a_flush_that_waits_for_the_state_at_the_release_writes_nothing() -> None:
    """Another worker may own the partition when the flush gets its turn."""

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        writer, status = fixture.writer, fixture.partition.status
        async with status.state_lock:
            flush = asyncio.create_task(fixture.partition.flush(always=True))
            await asyncio.sleep(0)
            await fixture.partition.release()
        assert not await flush
        assert writer.written == []

    on_live(work)


def test_an_unexpected_error_while_a_state_is_emptied_ends_the_worker() -> None:
    """It is never lost in a background task."""

    def steps() -> Iterator[None]:
        yield
        raise RuntimeError("a mistake of ours")

    async def work(fixture: PartitionFixture) -> None:
        discard(steps(), fixture.context)
        await fixture.until(lambda: fixture.failed)
        await all_discarded(fixture)
        assert [str(error) for error in fixture.failed] == ["a mistake of ours"]

    on_live(work)


def test_one_state_after_the_other_is_emptied() -> None:
    """Many partitions that are revoked at once take no more of the worker's time than one."""

    async def work(fixture: PartitionFixture) -> None:
        states = [fed(2_000).state for _ in range(3)]
        users = [state.users[USER] for state in states]
        for state in states:
            discard(state.discarding(), fixture.context)
        most = 0
        while fixture.context.discards:
            most = max(most, sum(0 < len(user.calls) < 2_000 for user in users))
            await asyncio.sleep(0)
        assert most == 1
        assert not any(user.calls for user in users)

    on_live(work, slice_ms=0)
