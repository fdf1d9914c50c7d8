"""number_of: many spellings of a number are one number, and hidden callers have none."""

from __future__ import annotations

import pytest

from ecounters.events.numbers import number_of


@pytest.mark.parametrize(
    "spelling",
    [
        "+15550001111",
        "+1 555 000 1111",
        "0015550001111",
        "00 1 (555) 000-1111",
        "+1.555.000.1111",
        "tel:+1-555-000-1111",
        "TEL:+15550001111;phone-context=example.invalid",
        "sip:+15550001111@pbx.example.invalid;user=phone",
        "SIPS:0015550001111@pbx.example.invalid:5061",
        "+1\u2011555\u2013000\u00a01111",
        " +1[555]{000}1111\t",
        "sip:+15550001111@pbx.example.invalid?Replaces=" + "x" * 120,
    ],
)
def test_spellings_of_one_number(spelling: str) -> None:
    """Fillers, schemes and the international prefix are no part of a number."""
    assert number_of(spelling) == "+15550001111"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "+", "00", "-", "()", "tel:", "sip:@pbx.example.invalid", "anonymous", "Anonymous", "UNKNOWN",
        "Restricted", "private", "unavailable", "Withheld", "blocked", "sip:anonymous@anonymous.invalid", " private ",
        "+unknown",
    ],
)  # fmt: skip
def test_hidden_callers(text: str) -> None:
    """They have no number: neither fresh nor repeat."""
    assert number_of(text) == ""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("207", "207"),
        ("0555", "0555"),
        ("alice", "alice"),
        ("+0015", "+0015"),
        ("*31#", "*31#"),
        ("9" * 200, "9" * 128),
    ],
)
def test_other_texts_are_numbers_as_they_are(text: str, number: str) -> None:
    """An extension, a name, a national number; at most 128 characters."""
    assert number_of(text) == number
