"""Restoring: the state that is made of changelog entries is the one that was saved, and goes on like it."""

from __future__ import annotations

import random

import pytest

from ecounters.changelog.entries import KINDS, POSITION, UnreadableEntries
from tests.support.builders import ALL_FIELDS, answer_of, busy_feed, call, restored


def test_a_restored_state_answers_as_the_one_that_was_saved() -> None:
    """Position, time, balances, gauges and counters; and it has nothing to save but its position."""
    feed = busy_feed()
    state = restored(list(feed.state.take_changes()))
    assert answer_of(state) == feed.answer()
    assert (state.position, state.watermark, state.arrival) == (
        feed.state.position,
        feed.state.watermark,
        feed.state.arrival,
    )
    assert [key for key, _ in list(state.take_changes())] == [POSITION]
    assert len(ALL_FIELDS) == 25


def test_reaped_calls_come_back_as_they_were_counted() -> None:
    """By the wall clock they had ended; the restored state begins at the watermark, where they live."""
    feed = busy_feed().pass_time(5 * 3600)
    assert feed.answer()["CST"] == {"-1": 1, "16": 1}
    state = restored(list(feed.state.take_changes()))
    feed.pass_time()
    assert answer_of(state) == feed.answer()
    assert feed.answer()["CST"] == {"16": 1}
    state.advance(feed.log[-1].timestamp + 5 * 3_600_000, at_end=True)
    assert answer_of(state)["CST"] == {"-1": 1, "16": 1}


def test_a_call_that_had_ended_is_corrected_after_a_restore() -> None:
    """What it was counted with is made up only now, and must be taken back before the new is added."""
    feed, whole = busy_feed(), busy_feed()
    assert whole.answer()["GHC"] == 1
    feed.state = restored(list(feed.state.take_changes()))
    for partition in (feed, whole):
        partition.take(call("c2").ringing(10.2).answered(10.5).add("call.forwarded", 10.7))
    assert feed.answer() == whole.answer()
    assert (feed.answer()["GHC"], feed.answer()["FWC"]) == (0, 1)


def test_all_entries_that_cannot_be_read_are_named() -> None:
    """Damaged ones of each kind, one of no kind, one of a stranger: none is missing, and no other error is raised."""
    entries = list(busy_feed().state.take_changes())
    draw = random.Random(1)
    bad = [(kind + b"\xff", draw.randbytes(9)) for kind in KINDS if kind != POSITION]
    bad += [(b"", b"x"), (b"\x00\x01", b"a stranger's")]
    with pytest.raises(UnreadableEntries) as raised:
        restored([*bad, *entries])
    assert set(raised.value.keys) == {key for key, _ in bad}
    assert "a stranger's" not in str(raised.value)


def test_an_entry_with_the_value_of_another_cannot_be_read() -> None:
    """Whatever value stands under a key: the state is as its entries say, or they are named as unreadable."""
    entries = [entry for entry in busy_feed().state.take_changes() if entry[0] != POSITION]
    position = [entry for entry in busy_feed().state.take_changes() if entry[0] == POSITION]
    refused = 0
    for key, _ in entries:
        for _, value in entries:
            try:
                restored([(key, value), *position])
            except UnreadableEntries:
                refused += 1
    assert refused > len(entries)


def test_of_a_newer_format_only_the_position_is_named() -> None:
    """Its other entries may have any form, and must stay."""
    with pytest.raises(UnreadableEntries, match="formats 1 to") as raised:
        restored([(POSITION, b"\x94\x63\x04\x00\x00"), (b"?", b"of that format")])
    assert list(raised.value.keys) == [POSITION]
