"""What an error says is one line for people."""

from __future__ import annotations

import pytest

from streams.basics.text import named, one_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such zone"), "no such zone"),
        (ValueError("  over\n two\tlines "), "over two lines"),
        (TimeoutError(), "TimeoutError"),
        (ValueError(" \n"), "ValueError"),
    ],
)
def test_an_error_is_told_on_one_line(error: Exception, text: str) -> None:
    """Its message with single blanks; its class if it has no message."""
    assert one_line(error) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [(TimeoutError(), "TimeoutError"), (OSError("no\n route"), "OSError no route"), (ValueError(" "), "ValueError")],
)
def test_an_error_is_named_once(error: Exception, text: str) -> None:
    """The class stands before the message, and alone where there is no message."""
    assert named(error) == text
