"""Dead letters: which are selected, and where they are published again."""

from __future__ import annotations

import io

import pytest

from ecounters.events.partitioner import partition_of
from streams.tools.dead_letter_report import StoredDeadLetter
from streams.tools.dead_letters import Selection, Survey, destination, nothing_selected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"userId":"u1"}', partition_of("u1", 8)),
        (b'{"userId":""}', 5),
        (b'{"userId":7}', 5),
        (b"[]", 5),
        (b'{"userId":"u1"', 5),
        (None, 5),
    ],
)
def test_where_a_letter_is_published_to(value: bytes | None, expected: int) -> None:
    """Its user's partition, or the one that it came from."""
    assert destination(StoredDeadLetter("not_json", "", "events", 5, "17", 0, b"u9", value), 8) == expected


@pytest.mark.parametrize(
    ("selection", "includes"),
    [
        (Selection(), True),
        (Selection("late", 5, 1_000), True),
        (Selection(reason="missing"), False),
        (Selection(partition=4), False),
        (Selection(since_ms=1_001), False),
        (Selection(user="u1", event_id="e7"), True),
        (Selection(user="u2"), False),
        (Selection(event_id="e8"), False),
    ],
)
def test_a_selection_includes_what_meets_all_of_it(selection: Selection, includes: bool) -> None:
    """By reason, partition of the event, time since which it was refused, user and event."""
    value = b'{"userId":"u1","id":"e7"}'
    assert selection.includes(StoredDeadLetter("late", "", "events", 5, "17", 1_000, None, value)) is includes


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (b'{"id":"e7","userId":"u1"}', b"k", ("u1", "e7")),
        (b'{"id":"e7","userId":"u1","callId":', b"k", ("u1", "e7")),
        (b'{"id":7,"userId":""}', b"k", ("k", "")),
        (b"\xff", b"\xff", ("\ufffd", "")),
        (None, None, ("", "")),
    ],
)
def test_user_and_event_of_a_letter(value: bytes | None, key: bytes | None, expected: tuple[str, str]) -> None:
    """Also of a message that was cut, or is no JSON; where it names no user, the key does."""
    letter = StoredDeadLetter("late", "", "events", 5, "17", 1_000, key, value)
    assert (letter.user, letter.event_id) == expected


def test_a_file_has_the_messages_that_are_lines() -> None:
    """The others are counted: they would be no line, or two."""
    survey, out = Survey({}), io.BytesIO()
    letter = StoredDeadLetter("late", "", "events", 5, "17", 1_000, None, None)
    for value in (b"{}", None, b"", b"a\nb", b"a\rb", b"[]"):
        survey.write(letter._replace(value=value, size=len(value or b"")), out)
    survey.write(letter._replace(value=b"{}", size=3), out)  # it is truncated
    assert (out.getvalue(), survey.unwritten) == (b"{}\n[]\n", 5)


def test_nothing_is_explained() -> None:
    """There is none at all, none of that time or place, or none of that reason but of others."""
    survey = Survey({}, reasons={"late", "empty"})
    assert nothing_selected("t", Survey({}), Selection()) == "Nothing in t."
    assert nothing_selected("t", survey, Selection(partition=1)) == "Nothing of that user, event, time or place in t."
    assert nothing_selected("t", Survey({}), Selection("late")) == "Nothing in t was refused as late."
    assert nothing_selected("t", survey, Selection("nope")) == (
        "Nothing in t was refused as nope; there is: empty, late."
    )
    assert nothing_selected("t", survey, Selection("nope", user="u1")) == (
        "Nothing of that user, event, time or place in t was refused as nope; there is: empty, late."
    )
