"""The changelog's entries: absolute, keyed by what they are of, and read by the version that wrote them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecounters.changelog import entries as saving
from tests.support.builders import ALL_FIELDS, Feed, answer_of, call, event, restored


def busy() -> Feed:
    """A partition with every kind of entry."""
    script = call().started(0, "IBD", campaignId=7, did="d", number="+15550001111", switchId="s").ringing(1).answered(2)
    script.held(3).resumed(4).entered(5, "menu").dtmf(6, "1#", ivr="menu").dialed(7, "2", retry=1).heartbeat(8)
    balance = event("balance.updated", 9, balance=2.5, callBalance=3)
    return Feed().take(script, balance, call("c2").started(10).ended(11), call("w").ringing(9))


def test_a_cut_holds_what_changed_and_the_position_last() -> None:
    """Everything once; then only what changes; the position always."""
    feed = busy()
    first = list(feed.state.take_changes())
    assert [key[:1] for key, _ in first].count(saving.CALL) == 3
    assert len({key for key, _ in first}) == len(first)
    assert first[-1][0] == saving.POSITION
    assert [key for key, _ in list(feed.state.take_changes())] == [saving.POSITION]
    feed.take(call("c2").leg_ended(12))
    again = list(feed.state.take_changes())
    assert [key[:1] for key, _ in again] == [saving.CALL, saving.CELL, saving.POSITION]
    assert all(dict(first).get(key) != value for key, value in again)


def test_a_restored_state_answers_as_the_one_that_was_saved() -> None:
    """Position, time, balances, gauges and counters; and it has nothing to save but its position."""
    feed = busy()
    state = restored(list(feed.state.take_changes()))
    assert answer_of(state) == feed.answer()
    assert (state.position, state.watermark, state.arrival) == (
        feed.state.position,
        feed.state.watermark,
        feed.state.arrival,
    )
    assert [key for key, _ in list(state.take_changes())] == [saving.POSITION]
    assert len(ALL_FIELDS) == 25


def test_a_dropped_call_leaves_a_tombstone_if_it_was_saved() -> None:
    """And none if the changelog never had it."""
    saved, unsaved = busy(), busy()
    list(saved.state.take_changes())
    for feed, tombstones in ((saved, 1), (unsaved, 0)):
        feed.clock(3600)
        assert [value for key, value in list(feed.state.take_changes()) if key[:1] == saving.CALL].count(
            None
        ) == tombstones


def test_a_call_id_that_comes_back_after_it_was_dropped_is_saved() -> None:
    """The tombstone of the old record stands before the new one, within one cut too."""
    feed = busy()
    list(feed.state.take_changes())
    feed.clock(3600).take(call("c2").started(3600, "OBD"))
    entries = [
        (key, value)
        for key, value in list(feed.state.take_changes())
        if key == saving.CALL + msgspec.msgpack.encode(("u1", "c2"))
    ]
    assert [value is None for _, value in entries] == [True, False]


def test_reaped_calls_come_back_as_they_were_counted() -> None:
    """By the wall clock they had ended; the restored state begins at the watermark, where they live."""
    feed = busy().pass_time(5 * 3600)
    assert feed.answer()["CST"] == {"-1": 1, "16": 1}
    state = restored(list(feed.state.take_changes()))
    feed.pass_time()
    assert answer_of(state) == feed.answer()
    assert feed.answer()["CST"] == {"16": 1}
    state.advance(feed.log[-1].timestamp + 5 * 3_600_000, at_end=True)
    assert answer_of(state)["CST"] == {"-1": 1, "16": 1}


def test_a_call_that_had_ended_is_corrected_after_a_restore() -> None:
    """What it was counted with is made up only now, and must be taken back before the new is added."""
    feed, whole = busy(), busy()
    assert whole.answer()["GHC"] == 1
    feed.state = restored(list(feed.state.take_changes()))
    for one in (feed, whole):
        one.take(call("c2").ringing(10.2).answered(10.5).add("call.forwarded", 10.7))
    assert feed.answer() == whole.answer()
    assert (feed.answer()["GHC"], feed.answer()["FWC"]) == (0, 1)


@pytest.mark.parametrize("value", [(2, 0, 0, 0), (0, 0, 0, 0)])
def test_another_format_is_not_guessed_at(value: tuple[int, ...]) -> None:
    """A worker that would misread its state stops instead."""
    with pytest.raises(ValueError, match="format"):
        restored([(saving.POSITION, msgspec.msgpack.encode(value)), (b"?", b"of that format")])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"?", b""),
        (b"", b"x"),
        (b"c", b"x"),
        (b"c" + msgspec.msgpack.encode(("u", "c")), msgspec.msgpack.encode([1, 2])),
        (b"w" + msgspec.msgpack.encode(("u", 0, 1, ("IBD", "", "", None))), msgspec.msgpack.encode({"TC": "1"})),
        (b"n" + msgspec.msgpack.encode(("u", "n")), msgspec.msgpack.encode("1")),
        (b"u" + msgspec.msgpack.encode("u"), msgspec.msgpack.encode(7)),
        (b"p", msgspec.msgpack.encode("p")),
    ],
)
def test_a_spoilt_entry_is_noticed(key: bytes, value: bytes) -> None:
    """Wrong types are an error and not a wrong number."""
    with pytest.raises(ValueError):
        restored([(key, value)])


@pytest.mark.parametrize("number", [0, -1, 2.5, 3.0, 10**15, 1e-9])
def test_balances_are_saved_exactly(number: float) -> None:
    """Whole or not."""
    feed = Feed().take(event("balance.updated", 0, balance=number, callBalance=number))
    told: dict[str, Any] = answer_of(restored(list(feed.state.take_changes())))
    assert (told["ucBl"], told["cBl"]) == (number, number)
