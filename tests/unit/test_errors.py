"""Errors: what they carry, and how they read."""

from __future__ import annotations

import pytest

from ecounters.errors import API_ERRORS, BadEvent, EcountersError, RequestRefused, SettingsError, Stop


def test_a_bad_event_names_its_reason_and_its_field() -> None:
    """The field is left out if it is the whole message."""
    assert str(BadEvent("missing", "userId")) == "missing: userId"
    assert str(BadEvent("empty", "")) == "empty"


@pytest.mark.parametrize("code", API_ERRORS)
def test_a_refused_request_has_the_codes_text_and_status(code: int) -> None:
    """What is wrong comes after the vendor's text; another status is given where the code's own does not fit."""
    text, http_status = API_ERRORS[code]
    assert (str(RequestRefused(code)), RequestRefused(code).http_status) == (text, http_status)
    refused = RequestRefused(code, "filter[0] must be an object", http_status=413)
    assert (str(refused), refused.http_status) == (f"{text}: filter[0] must be an object", 413)


def test_what_ends_the_process_says_with_which_code() -> None:
    """1, and 2 for a wrong setting; all that this project raises on purpose has one root."""
    assert (Stop("x").exit_code, SettingsError("x").exit_code) == (1, 2)
    assert all(issubclass(error, EcountersError) for error in (BadEvent, RequestRefused, Stop, SettingsError))
