"""The steps of a roll-up: replies between two of them are right, and so is what an early end leaves."""

from __future__ import annotations

from contextlib import closing
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.partition.user import User
from ecounters.reports.payload import message
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import WINDOW_MS, window_of
from tests.support.builders import ALL_FIELDS, T0_MS
from tests.support.counter_identities import check_identities
from tests.support.log_strategies import PARTITIONS, Step, chaotic
from tests.support.state_and_recount import EVERYTHING, Span, StateAndRecount

ZONES = ("UTC", "Asia/Kolkata", "America/New_York")

quarter_hours = st.integers(-400, 600).map(lambda n: window_of(T0_MS) + n * WINDOW_MS)


def check(both: StateAndRecount, user: User, span: Span) -> None:
    """Assert that a reply over the span equals the recount of the range that the reply says that it counts."""
    totals = totals_of(user, *span)
    found = message(totals, ALL_FIELDS)
    check_identities(found)
    counted = both.recount.answer(user.id, totals.begin, totals.end, ALL_FIELDS, both.recount.watermark)
    assert found == counted, (user.id, span)


@settings(max_examples=200)
@given(chaotic(), st.lists(st.tuples(quarter_hours, quarter_hours), min_size=2, max_size=2), st.integers(0, 40))
def test_at_each_step_of_a_roll_up_replies_are_right(steps: list[Step], spans: list[Span], end_early: int) -> None:
    """Over all time, and over ranges with bounds inside the days; also if the roll-up is ended after any step."""
    asked = [EVERYTHING, *((min(span), max(span) + WINDOW_MS) for span in spans)]
    for partition in range(PARTITIONS):
        both = StateAndRecount(partition, PARTITIONS)
        for step in steps:
            if step.partition != partition:
                continue
            if step.record is not None:
                both.take(step.record)
            elif step.what == "cut":
                both.crash()
            elif step.what == "roll":
                both.state.advance(0, at_end=False)
                roll_up(both, ZoneInfo(ZONES[step.number % len(ZONES)]), asked, end_early)
        assert both.differences() == []
        both.crash()
        assert both.differences() == []


def roll_up(both: StateAndRecount, zone: ZoneInfo, asked: list[Span], end_early: int) -> None:
    """Roll up all accounts, with replies after each step; end it early after so many steps, if there are so many."""
    state = both.state
    for user in list(state.users.values()):
        if not state.due_for_roll_up(user.id):
            continue
        with closing(state.rolling_up(user.id, zone)) as rolling:
            for at, _ in enumerate(rolling):
                for span in asked:
                    check(both, user, span)
                if at == end_early:
                    break
        for span in asked:
            check(both, user, span)
