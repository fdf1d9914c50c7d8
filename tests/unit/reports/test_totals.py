"""Totals: those of several users merge into the totals of all their calls."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ecounters.changelog.entries import SLOT
from ecounters.query.conditions import Where, read_filter
from ecounters.reports.payload import message, message_without_live
from ecounters.reports.totals import Totals, totals_of
from ecounters.windows.calendar import DAY_MS, WINDOW_MS
from tests.support.builders import ALL_FIELDS, T0_MS, WIDE, CallScript, Feed, call, event, ms, roll_up

DAY_S = 86_400.0
FIRST_WINDOW = (T0_MS, T0_MS + WINDOW_MS)


def calls_of_a(user: str) -> list[CallScript]:
    """Calls in two windows: answered, missed, and one live in an IVR."""
    return [
        call("a1", user)
        .started(600, "IBD", campaignId=7, did="1800", number="+1")
        .ringing(601)
        .answered(604)
        .ended(630, 16),
        call("a2", user).started(601, "IBD", campaignId=7).ringing(602).ended(609, 3),
        call("a3", user).started(900, "OBD", did="1800").entered(901, "menu").dtmf(902, "1", ivr="menu"),
    ]


def calls_of_b(user: str) -> list[CallScript]:
    """Calls in the same windows, some with the same dimensions: a retry leg, a hold, inputs, and one live."""
    held = call("b1", user).started(602, "IBD", campaignId=7, did="1800", number="+2").answered(605)
    return [
        held.held(606).resumed(609).dtmf(610, "1").dtmf(611, "2", valid=False).ended(640, 16),
        call("b2", user).started(603, "QC", campaignId="spring").ringing(604, "x", 1).ended(608, -5),
        call("b3", user).started(901, "OBD", did="1800").answered(903),
    ]


def of_user(feed: Feed, user: str, span: tuple[int, int] = WIDE, where: Where | None = None) -> Totals:
    """The totals of a user that may be unknown."""
    return totals_of(feed.state.users.get(user), *span, where)


FILTER = read_filter([{"field": "campaignId", "value": 7}, {"field": "status", "op": "ne", "value": 3}])[1]


@pytest.mark.parametrize("span", [WIDE, FIRST_WINDOW], ids=["all", "first window"])
@pytest.mark.parametrize("where", [None, FILTER], ids=["all calls", "filtered"])
def test_merged_totals_are_those_of_the_union(span: tuple[int, int], where: Where | None) -> None:
    """Every counter, map, average and live call of two users is that of one user who has all their calls."""
    apart = Feed().take(*calls_of_a("a"), *calls_of_b("b"))
    together = Feed().take(*calls_of_a("u"), *calls_of_b("u"))
    merged = of_user(apart, "a", span, where)
    merged.merge(of_user(apart, "b", span, where))
    expected = of_user(together, "u", span, where)
    assert message(merged, ALL_FIELDS) == message(expected, ALL_FIELDS)
    assert (merged.begin, merged.end) == (expected.begin, expected.end)
    assert {slot: n for slot, n in merged.counts.items() if n} == {slot: n for slot, n in expected.counts.items() if n}
    assert merged.live == expected.live
    assert message(merged)["TC"] == {WIDE: (6, 2), FIRST_WINDOW: (4, 2)}[span][where is not None]


def test_balances_add_up_and_are_not_filtered() -> None:
    """Balances of several accounts are added up, whatever the filter; an account without one adds 0."""
    feed = Feed().take(
        event("balance.updated", 0, "a", balance=2.5, callBalance=7), event("balance.updated", 1, "b", balance=-1)
    )
    merged = of_user(feed, "a", where=FILTER)
    merged.merge(of_user(feed, "b", where=FILTER))
    merged.merge(of_user(feed, "nobody"))
    assert [message(merged)[key] for key in ("ucBl", "cBl")] == [1.5, 7]


def test_totals_merge_into_zeros_and_the_merged_ones_stay_as_they_are() -> None:
    """Merging changes neither the other totals nor the user that they were made of, whatever was read before."""
    feed = Feed().take(*calls_of_a("a"))
    other = of_user(feed, "a")
    before = message(other, ALL_FIELDS)
    merged = Totals(*WIDE)
    assert message(merged)["LCT"] == {}
    for times in (1, 2, 3):
        merged.merge(other)
        assert message(merged)["LCT"] == {"OBD": times} and message(merged)["DTMF"] == {"1": times}
    assert message(other, ALL_FIELDS) == before
    assert message(of_user(feed, "a"), ALL_FIELDS) == before


def test_the_merged_range_holds_both() -> None:
    """A rolled-up day of one user makes the range wider, whichever of the two is merged into the other."""
    feed = Feed().take(*calls_of_a("a"), *calls_of_b("b")).clock(5 * DAY_S)
    roll_up(feed.state, "a", ZoneInfo("UTC"))
    day = T0_MS - T0_MS % DAY_MS
    for first, second in (("a", "b"), ("b", "a")):
        merged = of_user(feed, first, FIRST_WINDOW)
        merged.merge(of_user(feed, second, FIRST_WINDOW))
        assert (merged.begin, merged.end) == (day, day + DAY_MS)
        assert merged.counts["TC"] == 3 + 2


def test_the_totals_of_a_step_have_no_live_calls() -> None:
    """A step of a series has the calls of its range, and no live calls and balances."""
    feed = Feed().take(*calls_of_a("a"), event("balance.updated", 2, "a", balance=2.5))
    totals = totals_of(feed.state.users["a"], *FIRST_WINDOW, live=False)
    assert (totals.live, totals.balance) == ({}, 0)
    assert message_without_live(totals)["TC"] == 2 and "LCT" not in message_without_live(totals)


def test_the_range_counts_by_the_calls_start() -> None:
    """Everything of a call is in the window that it started in; gauges are of now, whatever the range."""
    feed = Feed().take(call("c1").started(0).answered(1), call("c2").started(900), call("c1").ended(2 * 900, 16))
    window = (T0_MS, T0_MS + WINDOW_MS)
    assert [feed.answer(span=window)[key] for key in ("TC", "CNC", "CST", "LCT")] == [1, 1, {"16": 1}, {"CTC": 1}]
    later = (T0_MS + WINDOW_MS, T0_MS + 9 * WINDOW_MS)
    assert [feed.answer(span=later)[key] for key in ("TC", "CNC", "CST", "LCT")] == [1, 0, {}, {"CTC": 1}]
    assert feed.answer(span=(ms(0) + 9 * WINDOW_MS, ms(0) + 10 * WINDOW_MS))["TC"] == 0


def test_a_smaller_start_moves_the_call_to_its_window() -> None:
    """A call whose start turns out to be earlier moves with all its counts, and leaves nothing in the later window."""
    feed = Feed().take(call("c1").started(900, "IBD", did="d").answered(901).started(899.999, "OBD"))
    before, after = (T0_MS, T0_MS + WINDOW_MS), (T0_MS + WINDOW_MS, T0_MS + 2 * WINDOW_MS)
    assert [feed.answer(span=before)[key] for key in ("TC", "CT", "CNC", "DID")] == [1, {"OBD": 1}, 1, {}]
    assert [feed.answer(span=after)[key] for key in ("TC", "CT", "CNC", "DID")] == [0, {}, 0, {}]


def test_the_inputs_of_split_cells_count_with_and_without_a_filter() -> None:
    """A cell with many input slots keeps them apart once a flush has split it."""
    feed = Feed().take(*(call(f"c{n}", "a").started(n, "IBD", did="7").dtmf(n + 1, f"{n:04}") for n in range(100)))
    everything = read_filter([{"field": "callType", "value": "IBD"}])[1]
    before = [of_user(feed, "a", where=where).inputs("DTMF") for where in (None, everything)]
    assert any(key[:1] == SLOT for key, _ in feed.state.take_changes())
    assert [of_user(feed, "a", where=where).inputs("DTMF") for where in (None, everything)] == before
    assert before == [{f"{n:04}": 1 for n in range(100)}] * 2
