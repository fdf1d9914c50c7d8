"""The changelog's entries: absolute, keyed by what they are of, and read by the version that wrote them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecounters.changelog.entries import POSITION
from tests.support.builders import Feed, answer_of, event, restored


@pytest.mark.parametrize("value", [(3, 0, 0, 0), (0, 0, 0, 0)])
def test_another_format_is_not_guessed_at(value: tuple[int, ...]) -> None:
    """A worker that would misread its state stops instead."""
    with pytest.raises(ValueError, match="format"):
        restored([(POSITION, msgspec.msgpack.encode(value)), (b"?", b"of that format")])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"?", b""),
        (b"", b"x"),
        (b"c", b"x"),
        (b"c" + msgspec.msgpack.encode(("u", "c")), msgspec.msgpack.encode([1, 2])),
        (b"w" + msgspec.msgpack.encode(("u", 0, 1, ("IBD", "", "", None))), msgspec.msgpack.encode({"TC": "1"})),
        (b"s" + msgspec.msgpack.encode(("u", 0, 1, ("IBD", "", "", None), "DTMF/1")), msgspec.msgpack.encode("1")),
        (b"s" + msgspec.msgpack.encode(("u", 0, 1, ("IBD", "", "", None))), msgspec.msgpack.encode(1)),
        (b"n" + msgspec.msgpack.encode(("u", "n")), msgspec.msgpack.encode("1")),
        (b"u" + msgspec.msgpack.encode("u"), msgspec.msgpack.encode(7)),
        (b"p", msgspec.msgpack.encode("p")),
    ],
)
def test_a_spoilt_entry_is_noticed(key: bytes, value: bytes) -> None:
    """Wrong types are an error and not a wrong number."""
    with pytest.raises(ValueError):
        restored([(key, value)])


@pytest.mark.parametrize("number", [0, -1, 2.5, 3.0, 10**15, 1e-9])
def test_balances_are_saved_exactly(number: float) -> None:
    """Whole or not."""
    feed = Feed().take(event("balance.updated", 0, balance=number, callBalance=number))
    reply: dict[str, Any] = answer_of(restored(list(feed.state.take_changes())))
    assert (reply["ucBl"], reply["cBl"]) == (number, number)
