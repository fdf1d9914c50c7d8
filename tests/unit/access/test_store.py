"""How users and sessions look in Redis: keys and hashes of secrets."""

from __future__ import annotations

import pytest

from ecounters.errors import SettingsError, Stop
from streams.access.store import (
    TOKEN_MAX,
    TOKEN_MIN,
    connect,
    decode,
    decoded,
    encode,
    session_key,
    token_fields,
    token_matches,
    user_key,
)


def test_a_token_matches_its_own_fields_alone() -> None:
    """The right token only; no token and no user match nothing."""
    user = token_fields("a token of theirs")
    assert token_matches(user, "a token of theirs")
    for wrong in ("A token of theirs", "a token of theirs ", "", None, "\ud800"):
        assert not token_matches(user, wrong)
    for nobody in ("a token of theirs", "", None):
        assert not token_matches({}, nobody)


def test_equal_tokens_are_stored_differently() -> None:
    """Each has a salt of its own, and neither field holds the token."""
    first, second = token_fields("a token of theirs"), token_fields("a token of theirs")
    assert first["salt"] != second["salt"]
    assert first["token"] != second["token"]
    assert "a token of theirs" not in repr((first, second))


@pytest.mark.parametrize("length", [TOKEN_MIN, TOKEN_MAX])
def test_a_token_of_16_to_512_characters_is_taken(length: int) -> None:
    """Any printable characters, spaces between them too."""
    for token in ("t" * length, "ü" * length, "a b" + "c" * (length - 3)):
        assert token_matches(token_fields(token), token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "t" * (TOKEN_MIN - 1), "t" * (TOKEN_MAX + 1), " " + "t" * 20, "t" * 20 + " ", "t" * 20 + "\n", "\0" * 20],
)
def test_a_token_that_is_too_easy_or_broken_is_refused(token: str) -> None:
    """The message says what a token must have, and does not show the token."""
    with pytest.raises(
        Stop, match="a token must have 16 to 512 printable characters, without white space at either end"
    ):
        token_fields(token)


def test_keys_hold_user_ids_and_no_ssid() -> None:
    """A user's key can be read; a session's has the SHA-256 of the ssid."""
    assert user_key("acme") == b"ecounters:user:acme"
    assert session_key("ssid").startswith(b"ecounters:session:")
    assert b"ssid" not in session_key("ssid").removeprefix(b"ecounters:session:")
    assert session_key("a") != session_key("b")


def test_any_text_that_json_can_spell_has_bytes() -> None:
    """A lone surrogate too, which must find nothing instead of raising."""
    for text in ("acme", "ü", "\ud800"):
        assert decode(encode(text)) == text
    assert decoded({b"zone": "ü".encode()}) == {"zone": "ü"}


@pytest.mark.parametrize("parameter", ["foo=1", "db=x", "socket_timeout=soon"])
def test_a_parameter_that_the_client_does_not_know_is_refused(parameter: str) -> None:
    """When the client is made, and not by the first command. The line does not show the password."""
    with pytest.raises(SettingsError, match="ECOUNTERS_REDIS") as caught:
        connect(f"redis://:hidden@127.0.0.1:6379/0?{parameter}")
    assert "hidden" not in str(caught.value)
