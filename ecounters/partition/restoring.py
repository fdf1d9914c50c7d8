"""Restoring: making a partition's state out of the entries of its changelog.

    last = LargeDict()
    for entries in ...:                  # as the changelog is read
        keep_last(last, entries)         # of changelog.entries
    for _ in restore(state, last):       # state: a new PartitionState
        ...                              # pause, if there is other work

The order matters. The position comes first, because it has the format and the watermark by which silence is judged. All
calls come after all cells, because a call's contribution refers to its cell.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ecounters.calls.large import LargeCall
from ecounters.calls.record import SAVED, Call
from ecounters.changelog.checking import UNREADABLE, why
from ecounters.changelog.entries import (
    CALL,
    CELL,
    ITEM,
    NUMBER,
    POSITION,
    SLOT,
    USER,
    UnreadableEntries,
    call_entry,
    read_call,
    read_cell,
    read_item,
    read_number,
    read_position,
    read_slot,
    read_user,
)
from ecounters.changelog.saved_call import restored_call
from ecounters.large_dict import LargeDict
from ecounters.partition.format_1 import convert_call, convert_users
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.windows.restoring import restore_cell, restore_slot

STEP: Final = 100
"""How many entries, or calls, one step of ``restore`` handles. A step takes less than 1 ms."""


def restore(state: PartitionState, last: dict[bytes, bytes] | LargeDict[bytes, bytes]) -> Generator[None]:
    """Put the entries into a new state, in steps; yield after each step. Without entries the state remains new.

    ``last`` is the last value of each key, see ``keep_last``. It is emptied on the way, so that the bytes of an entry
    are freed as soon as the entry is decoded. Use the state after the last step only.

    Raises UnreadableEntries, with all that are damaged or of an unknown kind; for a position that is damaged or of
    another format, with the position alone: of another format nobody knows what the others mean.

    The silence of calls is judged anew by the saved watermark, since the clock's wall time is not saved.
    """
    position_value = last.pop(POSITION, None)
    is_format_1 = False
    if position_value is not None:
        try:
            position = read_position(position_value)
        except ValueError as error:
            raise UnreadableEntries({POSITION: str(error)}) from error
        is_format_1 = position.format == 1
        state.position, state.watermark, state.arrival = position.position, position.watermark, position.arrival
        state.binding, state.holes = position.binding, position.holes
        state.timeouts.begin_at(position.watermark)
    large: LargeCalls = LargeDict()
    calls = yield from _make_all(state, large, last)
    changes, dtmf_digits = state.changes, state.policy.dtmf_digits
    if is_format_1:
        for index, _ in enumerate(convert_users(state.users.values(), changes, dtmf_digits)):
            if index % STEP == 0:
                yield
    while calls:
        yield
        for call in calls.pop():
            if large and (items := large.pop((call.user.id, call.id), None)) is not None:
                items.sort()
                call.large = items
            try:
                call.flags |= SAVED
                if is_format_1:
                    convert_call(state.users[call.user.id], call, changes, dtmf_digits)
                else:
                    call.user.restore_call(call)
                state.timeouts.restore(call)
            except UNREADABLE as error:
                raise UnreadableEntries({call_entry(call.user.id, call)[0]: why(error)}) from error
    for (user_id, call_id), items in large.items():  # Kafka did not take the entry of the call, see ``flushing``
        changes.add_left_over(user_id, call_id, items)


LargeCalls = LargeDict[tuple[str, str], LargeCall]
"""(user, call id) -> the items of a large call, in no particular order."""


def _make_all(
    state: PartitionState, large: LargeCalls, last: dict[bytes, bytes] | LargeDict[bytes, bytes]
) -> Generator[None, None, list[tuple[Call, ...]]]:
    """Put the content of all entries into the state or ``large``, in steps, and return the calls. Empties ``last``.

    The calls are in tuples, one of each step: the garbage collector visits one list of a million calls for 65 ms.
    Raises UnreadableEntries after the last step, with all that cannot be read.
    """
    calls: list[tuple[Call, ...]] = []
    unreadable: dict[bytes | None, str] = {}
    for table in last.tables() if isinstance(last, LargeDict) else (last,):
        while table:
            made: list[Call] = []
            for _ in range(min(STEP, len(table))):
                key, value = table.popitem()
                try:
                    call = _make(state, large, key, value)
                except UNREADABLE as error:
                    unreadable[key] = why(error)
                    continue
                if call is not None:
                    made.append(call)
            if made:
                calls.append(tuple(made))
            yield
    if unreadable:
        raise UnreadableEntries(unreadable)
    return calls


def _make(state: PartitionState, large: LargeCalls, key: bytes, value: bytes) -> Call | None:
    """Put the content of one entry into the state or ``large``. Returns a call, which is not counted yet; else None.

    Adds the entry's account to the state if it is new. Raises one of UNREADABLE if it is damaged or of an unknown kind.
    """
    kind = key[:1]
    if kind == CALL:
        user_id, call_id, saved = read_call(key, value)
        user = account_in(state, user_id)
        call = user.calls[call_id] = restored_call(saved, call_id, user)
        return call
    if kind == ITEM:
        user_id, call_id, item, content = read_item(key, value)
        large.setdefault((user_id, call_id), LargeCall()).restore(item, content)
    elif kind == NUMBER:
        user_id, number, last_start = read_number(key, value)
        account_in(state, user_id).numbers[number] = last_start
    elif kind == CELL:
        user_id, begin, end, dims, counts = read_cell(key, value)
        restore_cell(account_in(state, user_id).spans, begin, end, dims, counts)
    elif kind == SLOT:
        user_id, begin, end, dims, slot, amount = read_slot(key, value)
        restore_slot(account_in(state, user_id).spans, begin, end, dims, slot, amount)
    elif kind == USER:
        user_id, balance, call_balance = read_user(key, value)
        user = account_in(state, user_id)
        user.balance, user.call_balance = balance, call_balance
    else:
        raise ValueError("this version does not know its kind")
    return None


def account_in(state: PartitionState, user_id: str) -> User:
    """The account with this id; a new one is added to the state if there is none."""
    user = state.users.first.get(user_id) or state.users.get(user_id)
    if user is None:
        user = state.users[user_id] = User(user_id)
        user.version += 1
    return user
