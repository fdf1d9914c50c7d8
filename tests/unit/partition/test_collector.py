"""What the garbage collector visits of a partition's state: no more for more accounts, calls, DIDs and numbers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from ecounters.native import COMPILED
from ecounters.partition.state import PartitionState
from tests.support.builders import CallScript, Event, Feed, call, event, restored

FEW: Final = 300
MANY: Final = 1_800
GROWTH: Final = 600 + (MANY - FEW if COMPILED else 0)
"""So many more references may be followed for MANY things than for FEW: those of the timers' last buckets, which are
lists. If one more list or dict had a reference to each thing, they were 1,500 more. Compiled, there is one dict: Python
visits a dict of LargeDicts, such as the accounts of a switch, because they are of a kind that it visits, though none of
them is visited. That takes some ns for each."""
HOUR: Final = 3_600


def followed(make: Callable[[int], object], count: int) -> int:
    """How many references a full collection follows for what ``make`` returns: those from the objects it visits."""
    gc.collect()
    before = {id(one) for one in gc.get_objects()}
    made = make(count)
    gc.collect()
    new = [one for one in gc.get_objects() if id(one) not in before]
    references = sum(len(gc.get_referents(one)) for one in new)
    assert made is not None
    return references


def unsaved(count: int) -> Feed:
    """Accounts with balances, and with live, silent and ended calls; calls of one account, each with a DID and number.

    Nothing is counted or saved yet.
    """
    feed, events = Feed(), list[Event | CallScript]()
    for n in range(count):
        own: dict[str, Any] = {"did": f"d{n}", "campaignId": n, "number": f"+1555{n:07}"}
        events += (
            call(f"c{n}").started(0, switchId="s", **own),
            call(f"e{n}").started(0, did=f"d{n}").ended(0, status=n),
            call("c", f"u{n}").started(0, did="d").dtmf(0, "12"),
            call("s", f"v{n}").started(0, switchId="s"),
            event("balance.updated", 0, f"b{n}", balance=n),
        )
    return feed.take(*events)


def saved(count: int) -> Feed:
    """As ``unsaved``, counted, saved and asked for; then calls were silent, and some were ended by a restart."""
    feed = unsaved(count)
    list(feed.state.take_changes())
    feed.answer()
    feed.clock(3 * HOUR).take(event("switch.restarted", 3 * HOUR + 1, None, switchId="s"))
    feed.answer()
    list(feed.state.take_changes())
    return feed


def rolled_up(count: int) -> Feed:
    """As ``saved``, days later: the windows have become days."""
    feed = saved(count).clock(80 * HOUR)
    for user_id in list(feed.state.users):
        for _ in feed.state.rolling_up(user_id, ZoneInfo("UTC")):
            pass
    list(feed.state.take_changes())
    assert len(feed.state.users["u1"].spans.days) == 1
    return feed


def restored_one(count: int) -> PartitionState:
    """A state that was restored from the entries of ``unsaved``."""
    return restored(list(unsaved(count).state.take_changes()))


@pytest.mark.parametrize("make", [unsaved, saved, rolled_up, restored_one])
def test_a_full_collection_takes_no_longer_for_more_of_anything(make: Callable[[int], Feed | PartitionState]) -> None:
    """A collection stops the event loop: with 4 million objects of accounts and calls, for 0.5 s."""

    def state_of(count: int) -> PartitionState:
        made = make(count)
        return made.state if isinstance(made, Feed) else made

    state_of(10)  # what is made once for all states
    few, many = followed(state_of, FEW), followed(state_of, MANY)
    assert many - few < GROWTH, (few, many)
