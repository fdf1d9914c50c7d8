"""Dead letters: where they are published again, and how they are shown."""

from __future__ import annotations

import pytest

from ecounters.events.partitioner import partition_of
from streams.tools.dead_letters import StoredLetter, destination, printable


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
    assert destination(StoredLetter("not_json", "", "events", 5, "17", 0, b"u9", value), 8) == expected


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain", "plain"),
        ("é€😀".encode(), "é€😀"),
        ("€".encode()[:2], ""),
        (b"\xc3(", r"\xc3("),
        ("a\u2028b\u200b\ufeff".encode(), r"a\u2028b\u200b\ufeff"),
        (b"\x7f\x08\t", r"\x7f\x08\t"),
    ],
)
def test_printable_text(data: bytes, shown: str) -> None:
    """Letters stay, all else is an escape; a character that was cut in two is left out."""
    assert printable(data, cut=True) == shown
