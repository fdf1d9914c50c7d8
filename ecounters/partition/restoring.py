"""Restoring: making a partition's state out of the entries of its changelog.

    last: dict[bytes, bytes] = {}
    for entries in ...:                  # as the changelog is read
        keep_last(last, entries)         # of changelog.entries
    for _ in restore(state, last):       # state: a new PartitionState
        ...                              # pause, if there is other work

The order matters. The position comes first, because it has the format and the watermark by which silence is judged. All
calls come after all cells, because a call's contribution refers to its cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecounters.calls.large import LargeCall
from ecounters.calls.record import SAVED, Call
from ecounters.changelog.entries import (
    CALL,
    CELL,
    ITEM,
    NUMBER,
    POSITION,
    SLOT,
    USER,
    read_call,
    read_cell,
    read_item,
    read_number,
    read_position,
    read_slot,
    read_user,
)
from ecounters.partition.format_1 import convert_call, convert_users
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.windows.restoring import restore_cell, restore_slot

STEP: Final = 100
"""How many entries, or calls, one step of ``restore`` handles. A step takes less than 1 ms."""


def restore(state: PartitionState, last: dict[bytes, bytes]) -> Iterator[None]:
    """Put the entries into a new state, in steps; yield after each step. Without entries the state remains new.

    ``last`` is the last value of each key, see ``keep_last``. It is emptied on the way, so that the bytes of an entry
    are freed as soon as the entry is decoded. Use the state after the last step only. Raises ValueError for an entry
    that is damaged or of an unknown kind, and for a position of another format.

    The silence of calls is judged anew by the saved watermark, since the clock's wall time is not saved.
    """
    position_value = last.pop(POSITION, None)
    is_format_1 = False
    if position_value is not None:
        position = read_position(position_value)
        is_format_1 = position.format == 1
        state.position, state.watermark, state.arrival = position.position, position.watermark, position.arrival
        state.binding = position.binding
        state.timeouts.begin_at(position.watermark)
    calls: list[Call] = []
    large: LargeCalls = {}
    while last:
        for _ in range(min(STEP, len(last))):
            call = _make(state, large, *last.popitem())
            if call is not None:
                calls.append(call)
        yield
    changes, dtmf_digits = state.changes, state.policy.dtmf_digits
    if is_format_1:
        for index, _ in enumerate(convert_users(state.users.values(), changes, dtmf_digits)):
            if index % STEP == 0:
                yield
    for begin in range(0, len(calls), STEP):
        for call in calls[begin : begin + STEP]:
            call.flags |= SAVED
            if large and (items := large.pop((call.user.id, call.id), None)) is not None:
                items.sort()
                call.large = items
            if is_format_1:
                convert_call(state.users[call.user.id], call, changes, dtmf_digits)
            else:
                call.user.restore_call(call)
            state.timeouts.restore(call)
        yield
    for (user_id, call_id), items in large.items():  # Kafka did not take the entry of the call, see ``flushing``
        changes.add_left_over(user_id, call_id, items)


LargeCalls = dict[tuple[str, str], LargeCall]
"""(user, call id) -> the items of a large call, in no particular order."""


def _make(state: PartitionState, large: LargeCalls, key: bytes, value: bytes) -> Call | None:
    """Put the content of one entry into the state or ``large`` and return None; but only decode a call, and return it.

    Adds the entry's account to the state if it is new. Raises ValueError as ``restore`` does.
    """
    kind = key[:1]
    if kind == CALL:
        user_id, call_id, saved = read_call(key, value)
        return saved.call(call_id, _user(state, user_id))
    if kind == ITEM:
        user_id, call_id, item, content = read_item(key, value)
        large.setdefault((user_id, call_id), LargeCall()).restore(item, content)
    elif kind == NUMBER:
        user_id, number, last_start = read_number(key, value)
        _user(state, user_id).numbers[number] = last_start
    elif kind == CELL:
        user_id, begin, end, dims, counts = read_cell(key, value)
        restore_cell(_user(state, user_id).spans, begin, end, dims, counts)
    elif kind == SLOT:
        user_id, begin, end, dims, slot, amount = read_slot(key, value)
        restore_slot(_user(state, user_id).spans, begin, end, dims, slot, amount)
    elif kind == USER:
        user_id, balance, call_balance = read_user(key, value)
        user = _user(state, user_id)
        user.balance, user.call_balance = balance, call_balance
    else:
        raise ValueError(f"the changelog has an entry that this version does not know: {key[:40]!r}")
    return None


def _user(state: PartitionState, user_id: str) -> User:
    """The account with this id; a new one is added to the state if there is none."""
    user = state.users.get(user_id)
    if user is None:
        user = state.users[user_id] = User(user_id)
        user.version += 1
    return user
