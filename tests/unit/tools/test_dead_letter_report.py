"""How dead letters are grouped and shown."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ecounters.errors import REASONS
from streams.tools.dead_letter_report import (
    Group,
    Groups,
    StoredDeadLetter,
    sample_lines,
    table_lines,
)

T0_MS = 1_790_000_000_000


def dead_letter(
    at_ms: int = T0_MS, reason: str = "missing", name: str = "callId", value: bytes | None = b"{}"
) -> StoredDeadLetter:
    """A dead letter; its offset is its distance from T0_MS."""
    size = len(value or b"")
    return StoredDeadLetter(reason, name, "events", 3, str(at_ms - T0_MS), at_ms, b"u1", value, "", size)


def grouped(*letters: StoredDeadLetter, samples_max: int = 3) -> Groups:
    """Dead letters by reason and field."""
    groups: Groups = {}
    for letter in letters:
        groups.setdefault((letter.reason, letter.field), Group()).add(letter, samples_max)
    return groups


def test_a_record_is_read_by_its_headers() -> None:
    """They say why the event was refused and where it stood."""
    headers = [("reason", b"late"), ("field", b""), ("topic", b"events"), ("partition", b"7"), ("offset", b"12")]
    record = SimpleNamespace(headers=headers, partition=0, timestamp=T0_MS, key=b"u1", value=b"{}")
    read = StoredDeadLetter.of(record)
    assert read == StoredDeadLetter("late", "", "events", 7, "12", T0_MS, b"u1", b"{}", "", 2)
    assert read.is_whole


@pytest.mark.parametrize("headers", [[], [("partition", b"-1"), ("reason", None)], [("partition", b"\xff")]])
def test_a_record_of_another_program_is_read_all_the_same(headers: list[tuple[str, bytes | None]]) -> None:
    """What it does not say is a question mark, and its own partition stands in for the event's."""
    record = SimpleNamespace(headers=headers, partition=5, timestamp=T0_MS, key=None, value=None)
    assert StoredDeadLetter.of(record) == StoredDeadLetter("?", "", "?", 5, "?", T0_MS, None, None)


@pytest.mark.parametrize(
    ("headers", "value", "is_whole", "begin", "origin"),
    [
        ({"size": b"2"}, b"{}", True, "{}", "12"),
        ({"size": b"5000"}, b"x" * 300, False, "x" * 200 + "… (truncated: the first 300 of 5,000 bytes)", "12"),
        ({"size": b"5000"}, None, False, "(too large to be kept: 5,000 bytes)", "12"),
        ({"last_offset": b"15", "size": b"2"}, b"{}", False, "{}", "12-15"),
        ({"size": b"-1"}, b"{}", True, "{}", "12"),
        ({"size": b"\xff"}, b"{}", True, "{}", "12"),
    ],
)
def test_a_message_that_is_not_whole_is_known(
    headers: dict[str, bytes], value: bytes | None, is_whole: bool, begin: str, origin: str
) -> None:
    """Truncated, left out, or a record batch for several messages: it says so, and must not be published again."""
    given = [("topic", b"events"), ("partition", b"7"), ("offset", b"12"), *headers.items()]
    read = StoredDeadLetter.of(SimpleNamespace(headers=given, partition=0, timestamp=T0_MS, key=None, value=value))
    assert read.is_whole is is_whole
    line = list(sample_lines(grouped(read)))[-1]
    assert line.startswith(f"  events/7/{origin}  ") and line.endswith(f"Z  {begin}")


def test_the_table_has_the_largest_group_first() -> None:
    """Each row has reason, field, count and the first and last time, in UTC to the second."""
    groups = grouped(dead_letter(reason="late", name=""), dead_letter(T0_MS + 61_000), dead_letter(T0_MS + 1_999))
    assert list(table_lines(groups)) == [
        "REASON   FIELD   COUNT  FIRST SEEN            LAST SEEN",
        "missing  callId      2  2026-09-21T14:13:21Z  2026-09-21T14:14:21Z",
        "late     -           1  2026-09-21T14:13:20Z  2026-09-21T14:13:20Z",
    ]


def test_nothing_has_no_table() -> None:
    """Not even a head."""
    assert list(table_lines({})) == []


def test_the_newest_are_samples_whatever_the_order() -> None:
    """Partitions are read in any order, so that a new one may be read before an old one."""
    groups = grouped(*(dead_letter(T0_MS + at) for at in (5, 1, 9, 3, 7)), samples_max=2)
    lines = list(sample_lines(groups))
    assert lines[:2] == ["", f"missing: callId, the last 2 of 5: {REASONS['missing']}"]
    assert [line.split()[0] for line in lines[2:]] == ["events/3/9", "events/3/7"]
    assert lines[2] == "  events/3/9  2026-09-21T14:13:20.009Z  {}"


def test_a_reason_of_another_program_has_no_meaning() -> None:
    """It is shown as it is, with its control characters as escapes."""
    lines = list(sample_lines(grouped(dead_letter(reason="o\bdd", name=""))))
    assert lines[:2] == ["", r"o\x08dd, the last 1 of 1"]


def test_there_may_be_no_samples() -> None:
    """Then nothing is kept of a message, and no line is printed."""
    groups = grouped(dead_letter(), samples_max=0)
    assert groups["missing", "callId"].samples == [] == list(sample_lines(groups))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "(no message)"),
        (b"", "(empty)"),
        (b"x" * 200, "x" * 200),
        (b"x" * 1_500, "x" * 200 + "… (1,500 bytes)"),
        (b"x" * 199 + "é".encode(), "x" * 199 + "… (201 bytes)"),
    ],
)
def test_a_sample_is_the_beginning_of_a_message(value: bytes | None, shown: str) -> None:
    """At most 200 bytes and no half character, with the size of a longer one."""
    (line,) = list(sample_lines(grouped(dead_letter(value=value))))[2:]
    assert line.endswith(f"Z  {shown}")
