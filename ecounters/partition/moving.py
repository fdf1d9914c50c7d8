"""Moving: making the saved states of one number of partitions those of another number.

An account's entries move as they are, to the partition that ``partition_of`` names under the new number. Users of the
old partition p can come to the new partition q only if p and q are equal modulo the greatest common divisor of both
numbers. From 4 to 6 partitions, with the divisor 2::

    old  0  1  2  3            old 0 and 2  ->  new 0, 2 and 4
    new  0  1  2  3  4  5      old 1 and 3  ->  new 1, 3 and 5

A new partition gets the smallest watermark, and the smallest arrival, of the old partitions that its users can come
from. With the largest one, an event that a slower partition had not counted yet would be late in the new partition, and
never be counted. So time goes back for users of the faster partitions. What was due to be dropped or forgotten by the
old watermark must not come to life again by that: ``settle_due`` carries it out before.

The recount has the same rules, written anew: ``ecounters/recount/moving.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import Final

from ecounters.changelog.entries import (
    CALL,
    FORMAT,
    NUMBER,
    POSITION,
    USER,
    Entry,
    keep_last,
    read_call,
    read_number,
    read_position,
    read_user,
    user_of,
)
from ecounters.changelog.saved import Position
from ecounters.changelog.saved_call import restored_call
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User

NOTHING_COUNTED: Final = Position(FORMAT, 0, 0, 0)
"""The position of a partition whose changelog has none."""


def position_in(last: dict[bytes, bytes]) -> Position:
    """The position among the last entries of a changelog; NOTHING_COUNTED if there is none. Raises ValueError."""
    value = last.get(POSITION)
    return NOTHING_COUNTED if value is None else read_position(value)


def exchanging(old: int, new: int) -> Iterator[tuple[range, range]]:
    """The groups of partitions that exchange users: (old partitions, new partitions), which no other group has."""
    step = gcd(old, new)
    for first in range(step):
        yield range(first, old, step), range(first, new, step)


def times_of(positions: Iterable[Position]) -> tuple[int, int]:
    """(watermark, arrival) of a new partition, in ms. ``positions``: of the old partitions that its users can be of.

    Each is the smallest of those partitions that have counted something; 0 if none has.
    """
    counted = [position for position in positions if position.watermark > 0]
    watermark = min((position.watermark for position in counted), default=0)
    return watermark, min((position.arrival for position in counted), default=0)


def settle_due(last: dict[bytes, bytes], partition: int, partitions: int, policy: Policy) -> None:
    """Drop and forget in ``last``, the last entries of a changelog, what is due by its watermark.

    These are call records, telephone numbers and balances. A worker drops and forgets them some time later, and until
    then passes over them. Entries of an earlier format become those of today. ``partition`` of ``partitions``: whose
    changelog it is. Raises ValueError if an entry cannot be read.
    """
    position = position_in(last)
    if position.format != FORMAT:
        accounts = {user_of(key) for key in last if key != POSITION}
    else:
        accounts = _forget(last, PartitionState(partition, partitions, policy), position.watermark)
    if not accounts:
        return
    state = PartitionState(partition, partitions, policy)
    concerned = {key: value for key, value in last.items() if key == POSITION or user_of(key) in accounts}
    for _ in restore(state, concerned):
        pass
    keep_last(last, _changes(state))


def _forget(last: dict[bytes, bytes], state: PartitionState, watermark: int) -> set[str]:
    """Forget numbers that are due, and return the accounts with a call or balance that is due."""
    policy, drop_time = state.policy, state.timeouts.drop_time
    numbers_from, balances_from = watermark - policy.remember_number_ms, watermark - policy.keep_days_ms
    old_numbers, accounts = [], set()
    for key, value in last.items():
        kind = key[:1]
        if kind == CALL:
            user_id, call_id, saved = read_call(key, value)
            if drop_time(restored_call(saved, call_id, User(user_id))) <= watermark:
                accounts.add(user_id)
        elif kind == NUMBER:
            if read_number(key, value)[2] < numbers_from:
                old_numbers.append(key)
        elif kind == USER:
            user_id, *balances = read_user(key, value)
            if all(one is None or one[0] < balances_from for one in balances):
                accounts.add(user_id)
    for key in old_numbers:
        del last[key]
    return accounts


def _changes(state: PartitionState) -> Iterator[Entry]:
    """Drop and forget what is due in a restored state, and yield the entries that changed."""
    for user in list(state.users.values()):
        for call in list(user.calls.values()):
            if state.timeouts.drop_time(call) <= state.watermark:
                state.timeouts.drop(call)
        state.account(user.id)
    return state.take_changes()
