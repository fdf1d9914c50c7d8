"""Entries that cannot be read, and keys as people see them."""

from __future__ import annotations

import msgspec
import pytest

from ecounters.changelog.checking import account_read, shown_key, why_unreadable
from ecounters.changelog.entries import (
    UnreadableEntries,
    number_entry,
    position_entry,
    shown_entry,
    user_entry,
    user_of,
)
from ecounters.changelog.saved import Position, SavedCall
from tests.support.builders import Feed, call, event, restored

encode = msgspec.msgpack.encode


def test_what_a_state_writes_can_be_read() -> None:
    """Every kind of entry, and the account of each."""
    feed = Feed().take(
        event("call.started", 0, callId="c1", callType="IBD", number="+15550001111"),
        event("dtmf.received", 1, callId="c1", digits="1"),
        event("balance.updated", 2, balance=1),
    )
    entries = list(feed.state.take_changes())
    assert {key[:1] for key, _ in entries} == {b"c", b"w", b"n", b"u", b"p"}
    for key, value in entries:
        assert value is not None and why_unreadable(key, value) == ""
        assert user_of(key) == account_read(key, value) == ("" if key == b"p" else "u1")


@pytest.mark.parametrize("damaged", [["12", "e1", False, "menu"], [12, "e1", False], [12, "e1", False, "menu", 13]])
def test_a_call_with_damaged_ivr_entries(damaged: list[object]) -> None:
    """A restore cannot read it, and so says who looks at the entry alone."""
    feed = Feed().take(call().started(0).entered(1, "menu"))
    key, value = next((key, value) for key, value in feed.state.take_changes() if key[:1] == b"c")
    assert value is not None and why_unreadable(key, value) == ""
    fields = msgspec.msgpack.decode(value)
    fields[SavedCall._fields.index("ivrs")] = damaged
    assert why_unreadable(key, encode(fields)) != ""
    with pytest.raises(UnreadableEntries):
        restored([(key, encode(fields)), position_entry(Position(2, 9, 9, 9))])


@pytest.mark.parametrize("length", [0, 1, 31, 32, 128, 255, 256, 512])
def test_the_account_of_a_key(length: int) -> None:
    """However long it is."""
    user = "ü" * (length // 2) + "u" * (length % 2)
    assert user_of(number_entry(user, "1", 1)[0]) == user
    assert user_of(user_entry(user, None, None)[0]) == user


@pytest.mark.parametrize(
    "head", [b"\x92\xd9\x02", b"\x92\xda\x00\x02", b"\x92\xdb\x00\x00\x00\x02", b"\xdc\x00\x02\xa2"]
)
def test_the_account_of_a_key_that_is_longer_than_ours(head: bytes) -> None:
    """msgpack can be written in several ways. A restore reads all of them, and so does the import of a file."""
    key, value = b"n" + head + b"u1" + encode("1"), encode(1)
    assert account_read(key, value) == user_of(key) == "u1"


@pytest.mark.parametrize(
    "key", [b"", b"x", b"c", b"c\x92", b"n\x92\xd9", b"n\x92\xd9\x05ab", b"n\x92\x01\x02", b"u\x01"]
)
def test_a_key_without_an_account(key: bytes) -> None:
    """It is an error, and not an account."""
    with pytest.raises(ValueError):
        user_of(key)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (b"foreign", b"x", "no known kind"),
        (b"p1", position_entry(Position(2, 0, 0, 0))[1], "no known kind"),
        (b"p", encode((3, 0, 0, 0)), "format 3"),
        (b"n" + encode(("u", "1")), encode("x"), "Expected `int`"),
    ],
)
def test_why_an_entry_cannot_be_read(key: bytes, value: bytes, why: str) -> None:
    """Said in words."""
    assert why in why_unreadable(key, value)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (None, "no key"),
        (b"p", "position b'p'"),
        (b"n" + encode(("u1", "+15550001111")), "telephone number ['u1', '+15*********']"),
        (b"n\xc1+15550001111", "telephone number b'n\\xc1+15*********'"),
        (b"c" + encode(("u1", "call-4711")), "call ['u1', 'call-4711']"),
        (b"x" * 99, "unknown thing b'" + "x" * 55 + "..."),
    ],
)
def test_a_key_is_shown_without_telephone_numbers(key: bytes | None, shown: str) -> None:
    """Of five digits and more two are left."""
    assert shown_key(key) == shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (None, "unknown thing with the key None (why)"),
        (b"\xff0391234567", "unknown thing with the key b'\\xff03********' (why)"),
        (b"n+15550001111", "telephone number (why)"),
    ],
)
def test_an_unreadable_entry_is_shown_without_telephone_numbers(key: bytes | None, shown: str) -> None:
    """As the log of a worker has it: only keys that are not the project's own, and of their digits two."""
    assert shown_entry(key, "why") == shown
