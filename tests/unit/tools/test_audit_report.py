"""What an audit prints, and when it has succeeded."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from streams.access.accounts import UserInfo
from streams.tools.audit_report import (
    Difference,
    Options,
    Outcome,
    is_equal,
    known_zones,
    lines_of,
    shown_span,
    why_not_queried,
)

UTC = ZoneInfo("UTC")
T0_MS = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
HOUR_MS = 3_600_000


def outcome(*differences: Difference, **not_queried: str) -> Outcome:
    """Two users at partition 3, of which these differ."""
    return Outcome(2, 60, not_queried, list(differences), {"u1": UTC}, {3: (10, 12), 1: (7, 7)})


def difference(calls: int = 2) -> Difference:
    """A counter that differs in one window."""
    return Difference("u1", (T0_MS, T0_MS + HOUR_MS // 4), "TC", 1, 2, [f"c{number}" for number in range(calls)])


def test_all_equal_is_one_line() -> None:
    """It has the numbers, and the positions by partition."""
    assert list(lines_of(outcome(), Options())) == ["equal: 60 counters of 2 users at partition 1:7 3:10..12"]


def test_a_difference_is_a_line_with_values_and_calls() -> None:
    """User, window, counter, both values, and the calls of the recount; the last line counts them."""
    lines = list(lines_of(outcome(difference()), Options()))
    assert lines[0] == "u1\t2026-03-01 00:00 to 00:15 UTC\tTC\tworker 1\trecount 2\t2 calls: c0 c1"
    assert lines[1].startswith("different: 1 values of 1 users; 60 counters of 2 users")


def test_names_cannot_forge_lines() -> None:
    """What would control the terminal, or end a line or column, is shown as an escape."""
    wrong = "a\tb\nc\x1b[2J\u202e"
    found = Outcome(1, 1, {wrong: wrong}, [Difference(wrong, None, wrong, wrong, 2, [wrong])], {wrong: UTC})
    first, second, _ = lines_of(found, Options())
    shown = r"a\tb\nc\x1b[2J\u202e"
    assert first == f"{shown}\tnow\t{shown}\tworker {shown}\trecount 2\t1 calls: {shown}"
    assert second == f"{shown}\tnot asked: {shown}"


def test_only_some_calls_of_many_are_shown() -> None:
    """20, and a sign that there are more; where there are none, nothing but their number."""
    many = next(lines_of(outcome(difference(21)), Options())).rpartition("\t")[2]
    assert many.startswith("21 calls: c0 ") and many.endswith(" c19 …")
    assert next(lines_of(outcome(difference(0)), Options())).endswith("\t0 calls")


def test_a_user_that_was_not_queried_has_a_line() -> None:
    """It makes the audit fail, unless that was allowed."""
    lines = list(lines_of(outcome(u2="no account"), Options()))
    assert lines[0] == "u2\tnot asked: no account"
    assert lines[1].startswith("not known to be equal: ") and lines[1].endswith(", 1 users not asked")
    assert not is_equal(outcome(u2="no account"), Options())
    assert is_equal(outcome(u2="no account"), Options(skip_unknown=True))


def test_a_user_whose_zone_is_not_known_cannot_be_queried() -> None:
    """The others can, unless they have no account or no permission."""
    known = UserInfo("u1", "Asia/Kolkata", ())
    users = [known, UserInfo("u2", "Mars/Phobos", ()), UserInfo("u3", "UTC", ("overallCount",))]
    zones = known_zones(users)
    assert zones == {"u1": ZoneInfo("Asia/Kolkata"), "u3": UTC}
    assert [why_not_queried(info, zones) for info in (*users, None)] == [
        "",
        "its time zone Mars/Phobos is not known on this machine",
        "overallCount is denied",
        "no account",
    ]


def test_an_audit_of_nobody_has_not_succeeded() -> None:
    """Nothing was compared, so nothing is known; nor has one that found a difference."""
    assert not is_equal(Outcome(), Options())
    assert not is_equal(outcome(difference()), Options())


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        ((0, 24), "2026-03-01 UTC"),
        ((1, 2), "2026-03-01 01:00 to 02:00 UTC"),
        ((23, 25), "2026-03-01 23:00 to 01:00 UTC"),
        ((0, 48), "2026-03-01 00:00 to 2026-03-03 00:00 UTC"),
    ],
)
def test_a_range_is_shown_as_short_as_it_can_be(hours: tuple[int, int], shown: str) -> None:
    """A whole day by its date; less than a day with one date; more with two."""
    begin, end = (T0_MS + hour * HOUR_MS for hour in hours)
    assert shown_span(begin, end, UTC) == shown
