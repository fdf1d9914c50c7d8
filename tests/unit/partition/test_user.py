"""User: a call is counted by the difference to what it was counted with, under its live key, and in its version."""

from __future__ import annotations

from ecounters.calls.live_key import LiveKey
from ecounters.calls.record import CHANGED, DIRTY, LIVE, REAPED, SUSPECTED, TOUCHED, Call
from ecounters.changelog.entries import CELL, NUMBER, USER
from ecounters.events.types import BalanceUpdated
from ecounters.partition.user import User
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.dims import Dims

START = 1_773_144_000_000


def live_call(user: User, call_id: str = "c1", call_type: str = "IBD") -> Call:
    """A started call of the user that is to be counted."""
    call = user.calls[call_id] = Call(call_id, user)
    call.last_ts = call.start = START
    call.type, call.did = call_type, "d"
    touch(call)
    return call


def touch(call: Call) -> None:
    """Note that the call has changed, as ``Changes`` does."""
    call.flags |= CHANGED
    call.user.touched[call] = None


def counted(user: User) -> list[tuple[object, dict[str, int]]]:
    """(dimensions, counts) of the cells of the window in which the calls started."""
    return [(dims, cell.counts) for dims, cell in user.spans.windows[START].cells.items() if cell.counts]


def test_settling_counts_a_touched_call_once() -> None:
    """However often it was touched; a second settle changes nothing, the version included."""
    user = User("u1")
    call = live_call(user)
    touch(call)
    user.settle()
    assert counted(user) == [(Dims("IBD", "", "d", None), {"TC": 1})]
    assert (dict(user.live), call.flags & TOUCHED, len(user.touched)) == ({LiveKey("IBD", "", "d", ""): 1}, 0, 0)
    version = user.version
    user.settle()
    assert (user.version, counted(user)) == (version, [(Dims("IBD", "", "d", None), {"TC": 1})])


def test_a_call_that_has_changed_moves_to_its_new_cell() -> None:
    """The old contribution is taken back whole, and an ended call is no longer counted as live."""
    user = User("u1")
    call = live_call(user)
    user.settle()
    call.end, call.status = START + 60_000, 16
    touch(call)
    user.settle()
    assert counted(user) == [(Dims("IBD", "", "d", 16), {"TC": 1, "GHC": 1})]
    assert (len(user.live), len(user._live_keys), call.live_key) == (0, 0, None)


def test_settling_one_call_leaves_the_others() -> None:
    """The others are counted at the next settle, and the one is not counted again."""
    user = User("u1")
    first, second = live_call(user, "c1"), live_call(user, "c2", "OBD")
    user.settle_one(first)
    assert counted(user) == [(Dims("IBD", "", "d", None), {"TC": 1})]
    assert (first.flags, second.flags) == (DIRTY, CHANGED)
    user.settle()
    assert sum(counts["TC"] for _, counts in counted(user)) == 2


def test_silence_that_changes_what_a_call_counts_as_is_reported() -> None:
    """To become REAPED and to cease to be: then it ends or lives again. SUSPECTED calls are counted at once."""
    user = User("u1")
    call = live_call(user)
    steps = [(SUSPECTED, False, 1), (SUSPECTED, False, 1), (REAPED, True, 0), (SUSPECTED, True, 1), (LIVE, False, 0)]
    for silence, changes, suspected in steps:
        assert (user.set_silence(call, silence), user.suspected, call.silence) == (changes, suspected, silence)


def test_changes_are_settled_and_taken_once() -> None:
    """Cells, balances and numbers, each as one entry; the next time there are none."""
    user = User("u1")
    live_call(user)
    user.numbers["+1"] = user.new_numbers["+1"] = START
    user.update_balance(BalanceUpdated(id="e", ts=START, user_id="u1", balance=1))
    assert [key[:1] for key, _ in user.take_changes()] == [CELL, USER, NUMBER]
    assert list(user.take_changes()) == []


def test_a_user_is_empty_once_nothing_of_it_is_left() -> None:
    """A call, a number, a span or a balance is something; a live key or a version is not."""
    user = User("u1")
    assert user.empty
    call = live_call(user)
    assert not user.empty
    user.settle()
    del user.calls[call.id]
    assert not user.empty, "the call is still counted"
    for _ in user.spans.forget(START + WINDOW_MS):
        pass
    assert user.empty
    user.numbers["+1"] = START
    assert not user.empty
    user.numbers.clear()
    user.update_balance(BalanceUpdated(id="e", ts=START, user_id="u1", balance=0))
    assert not user.empty


def test_the_token_tells_a_user_from_a_later_one_of_its_id() -> None:
    """A cache that keeps it sees that a restored account is another object, though the versions are equal."""
    assert User("u1").token is not User("u1").token
