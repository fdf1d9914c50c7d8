"""Large replies, which are made in steps, have the bytes of the same replies made at once."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.errors import RequestRefused
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.query.conditions import read_filter
from ecounters.reports import parts, reading
from ecounters.reports.large import LargeReply
from ecounters.reports.payload import body, in_order, message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import WINDOW_MS, window_of
from ecounters.windows.steps import INTERVALS
from tests.support.builders import ALL_FIELDS, T0_MS, roll_up
from tests.support.filter_strategies import filters
from tests.support.log_strategies import PARTITIONS, USERS, Step, chaotic

Span = tuple[int, int]


@pytest.fixture(scope="module", autouse=True)
def _small_steps() -> Any:
    """Steps of one or two things, and totals of any size made in parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "STEP", 2)
        patch.setattr(reading, "CELLS_STEP", 1)
        patch.setattr(parts, "STEP", 1)
        patch.setattr(parts, "RUN_MAX", 3)
        yield


def states(steps: list[Step]) -> list[PartitionState]:
    """The state of each partition after the log."""
    made = [PartitionState(partition, PARTITIONS, Policy()) for partition in range(PARTITIONS)]
    for step in steps:
        state = made[step.partition]
        if step.record is not None:
            state.apply([step.record], step.record.timestamp)
        elif step.what == "cut":
            list(state.take_changes())
        elif step.what == "look":
            totals_of(state.users.get(USERS[0]), 0, T0_MS * 2)
        elif step.what == "roll":
            for user_id in filter(state.due_for_roll_up, list(state.users)):
                roll_up(state, user_id, ZoneInfo("Asia/Kolkata"))
    return made


def in_steps(large: LargeReply, state: PartitionState, user_id: str) -> bytes:
    """The body, made in steps; replies are made at once between them."""
    user = state.users.get(user_id)
    for _ in large.look_at(user):
        pass
    if user is not None:
        for _ in user.settling():
            pass
    for number, _ in enumerate(large.read(user)):
        if number % 3 == 0:
            totals_of(user, T0_MS - WINDOW_MS * number, T0_MS * 2)
    return b"".join(large.parts())


@settings(max_examples=150)
@given(
    chaotic(),
    st.none() | filters,
    st.none() | st.sampled_from(sorted(INTERVALS)),
    st.integers(-300, 100),
    st.integers(1, 400),
)
def test_a_large_reply_has_the_bytes_of_one_made_at_once(
    steps: list[Step], given_filter: list[dict[str, Any]] | None, interval: str | None, first: int, windows: int
) -> None:
    """Of any log, filter and range, whole or as a series; also the range that is counted, or the refusal."""
    where = read_filter(given_filter)[1] if given_filter else None
    zone = ZoneInfo("Asia/Kathmandu")
    begin = window_of(T0_MS) + first * WINDOW_MS
    span = begin, begin + windows * WINDOW_MS
    for state in states(steps):
        for user_id in USERS:
            large = LargeReply(span, where, ALL_FIELDS, interval, zone)
            user = state.users.get(user_id)
            if interval is None:
                content = in_steps(large, state, user_id)
                totals = totals_of(user, *span, where)
                assert content == body(message(totals, ALL_FIELDS))
                assert (large.begin, large.end) == (totals.begin, totals.end)
                continue
            try:
                series = Series(user, span, interval, zone, where, ALL_FIELDS)
            except RequestRefused as refused:
                with pytest.raises(RequestRefused, match=re.escape(str(refused))):
                    in_steps(large, state, user_id)
                continue
            assert in_steps(large, state, user_id) == body(series.message)
            assert (large.begin, large.end) == (series.begin, series.end)


@given(
    st.dictionaries(st.text("0123456789-a\u0661é/", min_size=1, max_size=5), st.integers(1, 9), max_size=40),
    st.integers(1, 5),
)
def test_a_map_is_ordered_in_parts_as_at_once(entries: dict[str, int], step: int) -> None:
    """Whole numbers by value, then by text; others by code points; whatever is a digit elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "STEP", step)
        content = b"".join(parts.map_parts(entries))
    assert content == body(in_order(entries))[len(b'{"message":') : -len(b',"status":"success"}')]  # type: ignore[arg-type]
