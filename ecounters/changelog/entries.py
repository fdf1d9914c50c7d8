"""The entries of a changelog: how a partition's state is written to its changelog topic, and read back.

An entry is a Kafka record's (key, value). There is one for each call with a record, each cell that is not empty, each
input slot of a split cell (see ``windows.cell``), each telephone number, each account with a balance, and one for the
position. The key is one byte for the kind and the msgpack of what identifies the thing; the value is msgpack, or None
if the thing is gone (a tombstone). Entries are absolute: only the last entry of a key counts, so Kafka's compaction by
key loses nothing.

======  ===========================================  =====================================================
byte    rest of the key                              value
======  ===========================================  =====================================================
c       (user, call)                                 the array of ``saved_call.saved_form``
i       (user, call, kind and name of an item)       what ``LargeCall.value_of`` gives for it
w       (user, begin, end, dims) of a cell           {slot: amount}; of a split cell without its input slots
s       (user, begin, end, dims, input slot)         amount of the slot, of a split cell
n       (user, telephone number)                     largest ``ts`` of a call.started with that number
u       user                                         (balance, callBalance), each a ``Balance`` or None
p       nothing                                      ``Position``
======  ===========================================  =====================================================

This module only encodes and decodes. ``partition.changes`` decides which entries to write, ``partition.restoring``
makes a state of them, and ``streams/kafka`` writes and reads the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ecounters.calls.items import DTMF, HOLD, LEG, Dtmf, Hold, Item, IvrEntry, Leg
from ecounters.calls.large import LargeCall
from ecounters.calls.record import Call
from ecounters.changelog.saved import Position, SavedCall, SavedLeg
from ecounters.changelog.saved_call import restored_leg, saved_form, saved_leg
from ecounters.large_dict import LargeDict
from ecounters.text import masked
from ecounters.windows.cell import Cell
from ecounters.windows.dims import Dims

Entry = tuple[bytes, bytes | None]
"""(key, value); the value None is a tombstone."""

Balance = tuple[int, str, int | float]
"""(ts, event id, amount) of a balance.updated. The event with the largest (ts, id) counts, whichever arrives last."""

FORMAT: Final = 2
"""The version of these keys and values. A position with a later one cannot be read, and the worker stops: a guess would
spoil counters.

2  a call with many legs, holds, IVR entries or inputs has entries of its own for them; holds and IVR entries say
   whether they are an end, not whether they are a begin; legs may be ``elsewhere``; a call with several
   call.started has their ids and the time of the last one; one whose id was used again has the time of that.
   ``partition.format_1`` reads 1.
"""
FORMATS: Final = (1, FORMAT)
"""The formats that can be read."""

ENTRY_BYTES: Final = 350
"""About how many bytes a changed call adds to a flush: its own entry, and its share of its cell's and its number's."""

_encode: Final = msgspec.msgpack.Encoder().encode

CALL: Final = b"c"
ITEM: Final = b"i"
CELL: Final = b"w"
SLOT: Final = b"s"
NUMBER: Final = b"n"
USER: Final = b"u"
POSITION: Final = b"p"

KINDS: Final = {
    CALL: "call",
    ITEM: "item of a call",
    CELL: "cell",
    SLOT: "input slot of a cell",
    NUMBER: "telephone number",
    USER: "account",
    POSITION: "position",
}
"""First byte of a key -> what the entry is of, for messages that must not show keys: keys have customers' data."""


NO_POSITION: Final = "there are entries, but no position"
"""What is wrong with a changelog that has this. An empty one is a new one."""


class UnreadableEntries(ValueError):
    """Entries that are damaged, of an unknown kind, or of a format that this version does not read.

    ``keys``: key -> why it cannot be read. The key is None for a record without a key.
    """

    def __init__(self, keys: dict[bytes | None, str]) -> None:
        super().__init__(f"{len(keys)} keys cannot be read: {'; '.join(map(shown_entry, keys, keys.values()))}")
        self.keys = keys


def kind_of(key: bytes | None) -> str:
    """What the entry with this key is of, as a word of KINDS."""
    return KINDS.get((key or b"")[:1], "unknown thing")


def shown_entry(key: bytes | None, why: str) -> str:
    """An entry that cannot be read, for a message: its kind and why; of an unknown kind also its key, masked."""
    kind = kind_of(key)
    of_key = "" if key and key[:1] in KINDS else f" with the key {masked(repr(key))}"
    return f"{kind}{of_key} ({why})"


def user_of(key: bytes) -> str:
    """The account that an entry is of; "" for the position. Raises ValueError for a key of no kind or a damaged one."""
    end = _USER_ENDS.get(key[:3], 0)
    if 0 < end <= len(key):
        return key[3:end].decode()  # nearly all: to decode a whole key takes three times as long
    kind = key[:1]
    if kind == USER:
        return _user_key(key[1:])
    if kind == POSITION:
        return ""
    if kind not in KINDS:
        raise ValueError("the key is of an unknown kind")
    parts = msgspec.msgpack.decode(key[1:])
    if type(parts) is not list or not parts or type(parts[0]) is not str:
        raise ValueError("the key has no account")
    return parts[0]


def call_entry(user_id: str, call: Call, *, gone: bool = False) -> Entry:
    """The entry of a call, without its items if it is large; its tombstone if the record was dropped."""
    return CALL + _encode((user_id, call.id)), None if gone else _encode(saved_form(call))


def item_entries(user_id: str, call_id: str, large: LargeCall, *, gone: bool = False) -> Iterator[Entry]:
    """The entries of the unsaved items of a large call, which become saved. ``gone``: tombstones of all its items."""
    items = large.items() if gone else iter(large.unsaved)
    large.unsaved = {}
    for item in items:
        value = None if gone else large.value_of(item)
        saved = saved_leg(value) if isinstance(value, Leg) else value
        yield ITEM + _encode((user_id, call_id, item)), None if gone else _encode(saved)


def cell_entry(user_id: str, cell: Cell, *, gone: bool = False) -> Entry:
    """The entry of a cell; its tombstone if the cell is empty, rolled up or out of retention.

    It has all slots of a whole cell. Those that ``cell.inputs`` has are in entries of their own: see ``slot_entry``.
    """
    return CELL + _encode((user_id, cell.begin, cell.end, cell.dims)), None if gone else _encode(cell.counts)


def slot_entry(user_id: str, cell: Cell, slot: str, *, gone: bool = False) -> Entry:
    """The entry of an input slot of a split cell; its tombstone if the slot's amount is 0 or the cell is gone."""
    key = SLOT + _encode((user_id, cell.begin, cell.end, cell.dims, slot))
    return key, None if gone or cell.inputs is None else _encode(cell.inputs.counts[slot])


def number_entry(user_id: str, number: str, last_start: int | None) -> Entry:
    """The entry of a telephone number. ``last_start``: when the last call with it started, ms; None: its tombstone."""
    return NUMBER + _encode((user_id, number)), None if last_start is None else _encode(last_start)


def user_entry(user_id: str, balance: Balance | None, call_balance: Balance | None) -> Entry:
    """The entry of an account: its two balances, None before the first event with one; a tombstone without any."""
    value = None if balance is None and call_balance is None else _encode((balance, call_balance))
    return USER + _encode(user_id), value


def position_entry(position: Position) -> Entry:
    """The entry of the position. It must be the last one of each flush."""
    return POSITION, _encode(position)


_USER_ENDS: Final = {
    kind + bytes((0x90 + items, 0xA0 + size)): 3 + size
    for kind, items in ((CALL, 2), (ITEM, 3), (CELL, 4), (SLOT, 5), (NUMBER, 2))
    for size in range(32)
}
"""The first three bytes of a key with an array -> where its first item, the user, ends. They are the kind, and
msgpack's bytes for an array of so many items and for a text of up to 31 bytes. Longer texts begin otherwise."""

_ITEM_NAMES: Final[dict[int, Any]] = {LEG: str, DTMF: str, HOLD: Hold}
"""Kind of an item -> the type of its name; all others are IVR entries."""

_pair_key: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode
_call_value = msgspec.msgpack.Decoder(SavedCall).decode  # not Final: tests replace it to kill a worker amid a restore
_item_key: Final = msgspec.msgpack.Decoder(tuple[str, str, tuple[int, Any]]).decode
_leg_value: Final = msgspec.msgpack.Decoder(SavedLeg).decode
_dtmf_value: Final = msgspec.msgpack.Decoder(Dtmf).decode
_cell_key: Final = msgspec.msgpack.Decoder(tuple[str, int, int, Dims]).decode
_cell_value: Final = msgspec.msgpack.Decoder(dict[str, int]).decode
_slot_key: Final = msgspec.msgpack.Decoder(tuple[str, int, int, Dims, str]).decode
_slot_value: Final = msgspec.msgpack.Decoder(int).decode
_number_value: Final = msgspec.msgpack.Decoder(int).decode
_user_key: Final = msgspec.msgpack.Decoder(str).decode
_user_value: Final = msgspec.msgpack.Decoder(tuple[Balance | None, Balance | None]).decode
_position: Final = msgspec.msgpack.Decoder(Position).decode

# The read functions raise msgspec.DecodeError, which is a ValueError, for bytes of another shape. They skip the first
# byte of a key. Those of which there are many unpack the key by names: compiled, "*" would make a list of it.


def read_call(key: bytes, value: bytes) -> tuple[str, str, SavedCall]:
    """(user, call id, the saved call)."""
    user_id, call_id = _pair_key(key[1:])
    return user_id, call_id, _call_value(value)


def read_item(key: bytes, value: bytes) -> tuple[str, str, Item, Leg | Dtmf | None]:
    """(user, call id, item, its value) of a large call."""
    user_id, call_id, item = read_item_key(key)
    if item.kind == LEG:
        return user_id, call_id, item, restored_leg(_leg_value(value))
    return user_id, call_id, item, _dtmf_value(value) if item.kind == DTMF else None


def read_cell(key: bytes, value: bytes) -> tuple[str, int, int, Dims, dict[str, int]]:
    """(user, begin, end, dims, counts) of a cell: begin and end in ms, counts slot -> amount."""
    user_id, begin, end, dims = _cell_key(key[1:])
    return user_id, begin, end, dims, _cell_value(value)


def read_slot(key: bytes, value: bytes) -> tuple[str, int, int, Dims, str, int]:
    """(user, begin, end, dims, slot, amount) of an input slot of a split cell: begin and end in ms."""
    return *_slot_key(key[1:]), _slot_value(value)


def read_number(key: bytes, value: bytes) -> tuple[str, str, int]:
    """(user, telephone number, when the last call with it started, ms)."""
    user_id, number = _pair_key(key[1:])
    return user_id, number, _number_value(value)


def read_user(key: bytes, value: bytes) -> tuple[str, Balance | None, Balance | None]:
    """(user, balance, callBalance)."""
    return _user_key(key[1:]), *_user_value(value)


# What identifies the thing: of a tombstone there is no more.


def read_pair_key(key: bytes) -> tuple[str, str]:
    """(user, call id) of a call, (user, telephone number) of a number."""
    return _pair_key(key[1:])


def read_item_key(key: bytes) -> tuple[str, str, Item]:
    """(user, call id, item) of a large call."""
    user_id, call_id, (kind, name) = _item_key(key[1:])
    return user_id, call_id, Item(kind, msgspec.convert(name, _ITEM_NAMES.get(kind, IvrEntry)))


def read_cell_key(key: bytes) -> tuple[str, int, int, Dims]:
    """(user, begin, end, dims) of a cell."""
    return _cell_key(key[1:])


def read_slot_key(key: bytes) -> tuple[str, int, int, Dims, str]:
    """(user, begin, end, dims, slot) of an input slot."""
    return _slot_key(key[1:])


def read_position(value: bytes) -> Position:
    """The position. Raises ValueError if the value is damaged or its format is none of FORMATS."""
    if (written := format_of(value)) not in FORMATS:
        raise ValueError(f"the changelog has format {written}; this version reads formats 1 to {FORMAT}")
    return _position(value)


def format_of(value: bytes) -> int:
    """The format of an encoded position, also of one that this version cannot read. Raises ValueError if it is none."""
    fields = msgspec.msgpack.decode(value)
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise ValueError("the position is damaged")
    return fields[0]


def keep_last(last: dict[bytes, bytes] | LargeDict[bytes, bytes], entries: Iterable[Entry]) -> None:
    """Update ``last`` (key -> last value) with the next entries of a changelog, in order. A tombstone removes its key.

    Kafka's compaction does the same. Values stay encoded here, so that only those that remain cost their decoding.
    """
    for key, value in entries:
        if value is None:
            last.pop(key, None)
        else:
            last[key] = value
