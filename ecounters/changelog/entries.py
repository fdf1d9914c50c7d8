"""The form in which state stands in the changelog: one entry per call, cell, number, account, and position.

An entry is absolute (it replaces what stood under its key), so compaction by key loses nothing. A key is a
letter and the msgpack of what identifies the thing; a value is msgpack; None says that the thing is gone.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ecounters.calls.record import Call
from ecounters.changelog.saved_call import SavedCall, saved_form
from ecounters.windows.cell import Cell, Dims

Entry = tuple[bytes, bytes | None]

Balance = tuple[int, str, int | float]
"""(ts, event id, amount) of the event that gave it: the largest (ts, id) counts, whatever came last."""

FORMAT: Final = 1
"""Of the entries. A worker that reads another one stops: guessing would spoil counters."""

ENTRY_BYTES: Final = 350
"""About what one changed call puts into a cut, its cell's and its number's share included."""

_encode = msgspec.msgpack.Encoder().encode

CALL, CELL, NUMBER, USER, POSITION = b"c", b"w", b"n", b"u", b"p"


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How far the state of a partition goes: the next source offset, and the partition's time."""

    format: int
    position: int
    watermark: int
    arrival: int


def call_entry(user_id: str, call: Call, *, gone: bool = False) -> Entry:
    """One call's record, or that it was dropped."""
    return CALL + _encode((user_id, call.id)), None if gone else _encode(saved_form(call))


def cell_entry(user_id: str, cell: Cell, *, gone: bool = False) -> Entry:
    """One cell's counts, or that it is gone."""
    return CELL + _encode((user_id, cell.begin, cell.end, cell.dims)), None if gone else _encode(cell.counts)


def number_entry(user_id: str, number: str, last: int | None) -> Entry:
    """When the last call with that number started; None: forgotten."""
    return NUMBER + _encode((user_id, number)), None if last is None else _encode(last)


def user_entry(user_id: str, balance: Balance | None, call_balance: Balance | None) -> Entry:
    """An account's balances."""
    return USER + _encode(user_id), _encode((balance, call_balance))


def position_entry(position: Position) -> Entry:
    """How far the entries before this one go."""
    return POSITION, _encode(position)


_call_key = msgspec.msgpack.Decoder(tuple[str, str]).decode
_call_value = msgspec.msgpack.Decoder(SavedCall).decode
_cell_key = msgspec.msgpack.Decoder(tuple[str, int, int, Dims]).decode
_cell_value = msgspec.msgpack.Decoder(dict[str, int]).decode
_number_value = msgspec.msgpack.Decoder(int).decode
_user_key = msgspec.msgpack.Decoder(str).decode
_user_value = msgspec.msgpack.Decoder(tuple[Balance | None, Balance | None]).decode
_position = msgspec.msgpack.Decoder(Position).decode


def read_call(key: bytes, value: bytes) -> tuple[str, Call]:
    """(user, the call)."""
    user_id, call_id = _call_key(key[1:])
    return user_id, _call_value(value).call(call_id)


def read_cell(key: bytes, value: bytes) -> tuple[str, int, int, Dims, dict[str, int]]:
    """(user, begin, end, dims, counts)."""
    return *_cell_key(key[1:]), _cell_value(value)


def read_number(key: bytes, value: bytes) -> tuple[str, str, int]:
    """(user, number, last start)."""
    return *_call_key(key[1:]), _number_value(value)


def read_user(key: bytes, value: bytes) -> tuple[str, Balance | None, Balance | None]:
    """(user, balance, callBalance)."""
    return _user_key(key[1:]), *_user_value(value)


def read_position(value: bytes) -> Position:
    """The position, or ValueError for a format that this version does not know."""
    position = _position(value)
    if position.format != FORMAT:
        raise ValueError(f"the changelog has format {position.format}; this version reads format {FORMAT}")
    return position
