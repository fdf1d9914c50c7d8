"""Values in messages are short, whatever they are."""

from __future__ import annotations

import pytest

from ecounters.text import SHOWN_MAX, shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"), (True, "true"), (7, "7"), (2.5, "2.5"), ("", '""'), ('a"b', '"a\\"b"'), ("\N{SNOWMAN}", '"☃"'),
        ({}, "{...}"), ({"a": [1]}, "{...}"), ([], "[...]"), ([[1]], "[...]"),
        ("x" * 58, '"' + "x" * 58 + '"'), ("x" * 59, '"' + "x" * 56 + "..."), (10**100, "1" + "0" * 56 + "..."),
        ("a\udcff", '"a\\\\udcff"'),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_json_that_is_cut(value: object, expected: str) -> None:
    """At most 60 characters; arrays and objects show no more than what they are."""
    assert shown(value) == expected
    assert len(expected) <= SHOWN_MAX
