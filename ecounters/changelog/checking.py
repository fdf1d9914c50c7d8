"""Whether an entry of a changelog can be read, and how its key is shown to people.

A record that another program wrote, or a release with another format, makes a restore fail. ``why_unreadable`` finds it
by the same functions that a restore uses.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecounters.changelog.entries import (
    CALL,
    CELL,
    ITEM,
    KINDS,
    NUMBER,
    POSITION,
    SLOT,
    USER,
    kind_of,
    read_call,
    read_cell,
    read_cell_key,
    read_item,
    read_item_key,
    read_number,
    read_pair_key,
    read_position,
    read_slot,
    read_slot_key,
    read_user,
    user_of,
)
from ecounters.changelog.saved_call import restored_ivrs
from ecounters.text import masked

UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What decoding, and making a state, raises for an entry that is none of ours. msgspec's errors are ValueErrors."""


def _read_call(key: bytes, value: bytes) -> tuple[str]:
    """Read a call and its IVR entries, whose values msgspec does not check. Returns the account alone."""
    user_id, _, saved = read_call(key, value)
    restored_ivrs(saved.ivrs or ())
    return (user_id,)


_any = msgspec.msgpack.Decoder(Any).decode
_read: Final[dict[bytes, Any]] = {
    CALL: _read_call,
    ITEM: read_item,
    CELL: read_cell,
    SLOT: read_slot,
    NUMBER: read_number,
    USER: read_user,
}

_read_key: Final[dict[bytes, Any]] = {
    CALL: read_pair_key,
    ITEM: read_item_key,
    CELL: read_cell_key,
    SLOT: read_slot_key,
    NUMBER: read_pair_key,
    USER: user_of,
}


def account_read(key: bytes, value: bytes) -> str:
    """Read an entry that is no tombstone as a restore does. Returns the account that it is of; "" for the position.

    Raises one of UNREADABLE if a restore cannot read it.
    """
    read = _read.get(key[:1])
    if read is not None:
        account: str = read(key, value)[0]
        return account
    if key != POSITION:
        raise ValueError("it is of no known kind")
    read_position(value)
    return ""


def why_unreadable(key: bytes, value: bytes) -> str:
    """Why a restore cannot read an entry that is no tombstone; "" if it can."""
    try:
        account_read(key, value)
    except UNREADABLE as error:
        return why(error)
    return ""


def why_unreadable_key(key: bytes | None) -> str:
    """Why the key of a tombstone cannot be read; "" if it can."""
    if key is None:
        return "it has no key"
    try:
        if key != POSITION:
            _read_key[key[:1]](key)
    except UNREADABLE as error:
        return why(error)
    return ""


def why(error: Exception) -> str:
    """Why an entry cannot be read. The text of other errors than ValueErrors could show what the entry holds."""
    return str(error) if isinstance(error, ValueError) else type(error).__name__


def shown_key(key: bytes | None) -> str:
    """What an entry is of, and its key, for a message. What may be a telephone number is masked but for 2 digits."""
    if key is None:
        return "no key"
    try:
        content = repr(_any(key[1:])) if key[:1] in KINDS and len(key) > 1 else repr(key)
    except UNREADABLE:
        content = repr(key)
    return f"{kind_of(key)} {masked(content)}"
