"""A state that nobody uses any more is emptied in steps, so that its memory is freed."""

from __future__ import annotations

from collections.abc import Callable
from sys import getallocatedblocks, getrefcount

import pytest

from ecounters.changelog.entries import keep_last
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from tests.support.builders import Feed, busy_feed, call, event, restored
from tests.support.steps import STEP_MAX, Steps, longest_step

LIVE = 20_000


def discarded(state: PartitionState) -> None:
    """Take all steps."""
    for _ in state.discarding():
        pass


def all_is_in_use(feed: Feed) -> None:
    """Saved, changed since, waiting for timers, silent, erased, dropped and large calls; numbers and split cells."""
    large = call("c8", "u2").started(0, number="+15550003333", switchId="s")
    for number in range(100):
        large.dtmf(1 + number, f"{number:04}")
    feed.take(large, call("c9", "u3").started(0), call("c9", "u4").started(0, switchId="s"))
    list(feed.state.take_changes())
    feed.clock(10_000)
    feed.take(event("account.erased", 10_000, "u4"), event("account.erased", 10_001, "u3"))
    feed.take(call("c8", "u2").dtmf(10_002, "5"), event("balance.updated", 10_003, "u5", balance=1))


@pytest.mark.parametrize("begin", [lambda feed: None, all_is_in_use], ids=["busy", "all"])
def test_the_memory_of_a_discarded_state_is_freed(begin: Callable[[Feed], None]) -> None:
    """Calls refer to their account, and the garbage collector does not look at calls."""
    feed = busy_feed()
    feed.answer()
    begin(feed)
    state, feed.state = feed.state, PartitionState(0, 1, Policy())
    users = list(state.users.values())
    calls = [one for user in users for one in user.calls.values()]
    cells = [cell for user in users for cell in user.spans.cells()]
    assert calls and cells
    discarded(state)
    unused = object()
    one_reference = getrefcount(unused)
    assert getrefcount(state) == one_reference
    del state
    for left in (calls, cells, users):
        while left:
            thing = left.pop()
            assert getrefcount(thing) == one_reference


def live_calls(count: int) -> Feed:
    """A feed with so many live calls of one account."""
    return Feed().take(*(call(f"c{n}").started(n / 100, switchId="s", number=str(n), did=str(n)) for n in range(count)))


def test_states_that_are_discarded_again_and_again_need_no_memory() -> None:
    """Each was restored with 20,000 live calls; one of them was restored in part."""
    entries = list(live_calls(LIVE).state.take_changes())
    discarded(restored(entries))
    before = getallocatedblocks()
    for _ in range(3):
        discarded(restored(entries))
        last: dict[bytes, bytes] = {}
        keep_last(last, entries)
        state = PartitionState(0, 1, Policy())
        steps = restore(state, last)
        for _ in range(3 * LIVE // 100 + 50):
            next(steps)
        steps.close()
        assert 0 < len(state.timeouts.live_by_switch._switches["s"]["u1"]) < LIVE
        discarded(state)
        last.clear()
        del state
    assert getallocatedblocks() - before < LIVE


def test_no_step_of_it_is_long() -> None:
    """Of 100,000 live calls of as many DIDs and numbers; 20 steps are taken at once."""

    def once(steps: Steps) -> None:
        feed = live_calls(100_000)
        feed.answer()
        steps.run(feed.state.discarding(), 20)

    assert longest_step(once) < STEP_MAX
