"""What an error says is one line for people."""

from __future__ import annotations

import pytest

from streams.basics.text import named, one_line, printable, why_failed

REFUSED = "connection refused"


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
    [
        (ValueError("no\n such zone"), "no such zone"),
        (ValueError("Unable to bootstrap from [('h', 9, <AddressFamily.AF_INET: 2>)]"), "no connection can be made"),
        (ValueError("Error 111 connecting. Connect call failed ('h', 9)."), f"no connection can be made ({REFUSED})"),
        (OSError(111, "Connect call failed ('h', 9)"), f"no connection can be made ({REFUSED})"),
        (ValueError("Connect call failed ('h', 9)."), "no connection can be made"),
        (
            ValueError("Cannot connect to host h:9 ssl:default [Name unknown]"),
            "Cannot connect to host h:9 [Name unknown]",
        ),
        (ValueError("Cannot connect to host h:9 ssl:<Context at 0x7> [no]"), "Cannot connect to host h:9 [no]"),
    ],
)
def test_a_connection_that_fails_shows_no_tuple(error: Exception, text: str) -> None:
    """Other errors are told on one line."""
    assert why_failed(error) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [(TimeoutError(), "TimeoutError"), (OSError("no\n route"), "OSError no route"), (ValueError(" "), "ValueError")],
)
def test_an_error_is_named_once(error: Exception, text: str) -> None:
    """The class stands before the message, and alone where there is no message."""
    assert named(error) == text


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
    assert printable(data, truncated=True) == shown


def test_a_text_is_printable_like_bytes() -> None:
    """Also one with half a surrogate pair, which no bytes in UTF-8 can be."""
    assert printable("a\n\u202eé\ud800") == r"a\n\u202eé\ud800"
