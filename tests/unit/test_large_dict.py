"""LargeDict: no dict of a partition's state, of a restore or of a reply grows without limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from ecounters import large_dict
from ecounters.changelog.entries import keep_last
from ecounters.large_dict import LIMITS, LargeDict
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from ecounters.query.conditions import read_filter
from ecounters.reports.reading import Matches, Reading
from tests.support.builders import WIDE, Feed, call
from tests.support.small_structures import small_steps
from tests.support.steps import STEP_MAX, Steps, longest_step

ENTRIES: Final = 1_500_000
MANY: Final = 400
SMALL_MAX: Final = 150
"""``first_max`` of the tests with MANY things: each of 64 further dicts has 100 at most."""


def test_no_entry_takes_long() -> None:
    """A dict takes 20 ms for one of them from 262,144 on, and 130 ms for the last that makes it grow."""
    keys = [f"+1{number:09}" for number in range(ENTRIES)]

    def once(steps: Steps) -> None:
        large: LargeDict[str, int] = LargeDict()

        def fill() -> Iterator[None]:
            for key in keys:
                large[key] = 1
                yield

        steps.run(fill(), 50)
        assert len(large) == ENTRIES

    assert longest_step(once) < STEP_MAX


def test_a_full_one_takes_what_it_has_and_nothing_else() -> None:
    """The first dict stays as it is, so that it never grows again."""
    large: LargeDict[int, int] = LargeDict()
    for number in range(LIMITS.first_max):
        large[number] = number
    first = large.first
    assert large.room(0) is first and large.room(1) is None
    large[0] = large[LIMITS.first_max] = -1
    del large[1]
    large[LIMITS.first_max + 1] = -1
    assert (len(large), len(first), large[0], large.room(0)) == (LIMITS.first_max + 1, LIMITS.first_max - 1, -1, None)


@pytest.mark.usefixtures("few")
def test_values_come_in_short_lists_and_all_may_be_removed_meanwhile() -> None:
    """One list of 400,000 accounts took 20 ms to make, and each garbage collection visited all of it."""
    large: LargeDict[int, int] = LargeDict()
    for number in range(MANY):
        large[number] = -number
    found = []
    for values in large.values_by_table():
        assert len(values) <= SMALL_MAX
        for value in values:
            found.append(-value)
            del large[-value]
    assert sorted(found) == list(range(MANY)) and not large


@pytest.mark.usefixtures("few")
def test_no_part_gets_all_keys_that_are_alike() -> None:
    """The statuses of ends are any 32-bit integers: a producer may send the multiples of 64 alone."""
    large: LargeDict[int, int] = LargeDict()
    for status in range(0, 64 * 6_400, 64):
        large[status] = 1
    assert max(map(len, large.parts)) < 3 * len(large) / large_dict.PARTS


def dicts_of(thing: object, seen: set[int]) -> Iterator[dict[Any, Any]]:
    """All dicts that can be reached from a thing through attributes and collections."""
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type | None):
        return
    seen.add(id(thing))
    inner: list[Any] = []
    if isinstance(thing, dict):
        yield thing
        inner += [*thing, *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner += thing
    else:
        names = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
        names += getattr(thing, "__mypyc_attrs__", ())
        names += [*getattr(thing, "__struct_fields__", ()), *getattr(thing, "__dict__", ())]
        inner += [getattr(thing, name) for name in names if hasattr(thing, name)]
    for each in inner:
        yield from dicts_of(each, seen)


def assert_small_dicts(*things: object) -> None:
    """Assert that no dict that belongs to these things has more entries than ``first_max``."""
    seen: set[int] = set()
    found = [one for thing in things for one in dicts_of(thing, seen)]
    assert len(found) > 10
    assert not [next(iter(one.items())) for one in found if len(one) > SMALL_MAX]


def much_of_everything() -> Feed:
    """Accounts, calls, numbers, inputs, dimensions, switches and silent calls, MANY of each."""
    feed = Feed()
    for n in range(MANY):
        live = call(f"live{n}").started(0, number=f"+1{n}", did=f"{n}", campaignId=f"c{n}", switchId=f"s{n}")
        same_switch = call(f"same{n}").started(1, switchId="s").dtmf(2, f"{n:04}")
        ended = call(f"ended{n}").started(0, did=f"{n}").ended(3, status=n)
        feed.take(live, same_switch, ended, call("c", f"u{n}").started(4, switchId="t"))
    return feed.clock(3 * 3600)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SMALL_MAX entries be many for a LargeDict. Cells are split early: they have their own limit."""
    with small_steps():
        monkeypatch.setattr(LIMITS, "first_max", SMALL_MAX)
        yield


@pytest.mark.usefixtures("few")
def test_no_dict_of_a_state_grows_without_limit() -> None:
    """Whatever an account, switch or caller can have many of; before a flush, and after one and a restore."""
    feed = much_of_everything()
    feed.answer()
    state = feed.state
    assert len(state.users["u1"].live) > MANY
    assert len(state.timeouts._silent) > MANY
    assert_small_dicts(state)
    last: LargeDict[bytes, bytes] = LargeDict()
    keep_last(last, state.take_changes())
    assert_small_dicts(state, last)
    restored = PartitionState(0, 1, Policy())
    for _ in restore(restored, last):
        pass
    assert_small_dicts(restored, last)
    assert len(restored.users) == len(state.users) > MANY


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("conditions", [[], [{"field": "did", "op": "ne", "value": "7"}]])
def test_no_dict_of_a_large_reply_grows_without_limit(conditions: list[dict[str, str]]) -> None:
    """Its maps of calls and live calls, and what a filter remembers."""
    user = much_of_everything().state.users["u1"]
    user.settle()
    _, where = read_filter(conditions)
    matches = Matches(where) if where else None
    reading = Reading(*WIDE)
    for _ in reading.read(user, matches, live=True):
        pass
    for _ in reading.add_up():
        pass
    assert len(reading.totals.live_by("did")) >= MANY - 1
    assert_small_dicts(user, reading, matches)
