"""How users and sessions look in Redis: keys and hashes of secrets."""

from __future__ import annotations

import pytest

from ecounters.errors import Stop
from streams.access.store import TOKEN_MAX, decode, decoded, encode, session_key, token_fields, token_matches, user_key


def test_a_token_matches_its_own_fields_alone() -> None:
    """The right token only; no token and no user match nothing."""
    user = token_fields("secret")
    assert token_matches(user, "secret")
    for wrong in ("Secret", "secret ", "", None, "\ud800"):
        assert not token_matches(user, wrong)
    for nobody in ("secret", "", None):
        assert not token_matches({}, nobody)


def test_equal_tokens_are_stored_differently() -> None:
    """Each has a salt of its own, and neither field holds the token."""
    first, second = token_fields("secret"), token_fields("secret")
    assert first["salt"] != second["salt"]
    assert first["token"] != second["token"]
    assert "secret" not in repr((first, second))


@pytest.mark.parametrize("length", [0, TOKEN_MAX + 1])
def test_a_token_has_a_length(length: int) -> None:
    """From 1 to 512 characters."""
    with pytest.raises(Stop, match="1 to 512"):
        token_fields("t" * length)


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
