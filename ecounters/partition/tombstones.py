"""Tombstones: what the changelog is told of an account that is erased."""

from __future__ import annotations

from collections.abc import Iterator

from ecounters.calls.record import SAVED
from ecounters.changelog.entries import (
    Entry,
    call_entry,
    cell_entry,
    item_entries,
    number_entry,
    slot_entry,
    user_entry,
)
from ecounters.partition.user import User


def tombstones(user: User) -> Iterator[Entry]:
    """Yield a tombstone for each entry of the account that the changelog may have. The account is erased.

    Calls and cells are noted as not saved then, and the numbers are forgotten.
    """
    for call in user.calls.values():
        if call.flags & SAVED:
            call.flags &= ~SAVED
            yield call_entry(user.id, call, gone=True)
            if call.large is not None:
                yield from item_entries(user.id, call.id, call.large, gone=True)
    for cell, slot in user.spans.take_saved():
        yield slot_entry(user.id, cell, slot, gone=True) if slot else cell_entry(user.id, cell, gone=True)
    for numbers in (user.numbers, user.new_numbers):
        while numbers:
            number, _ = numbers.popitem()
            yield number_entry(user.id, number, None)
    if user.balance is not None or user.call_balance is not None or user.dirty:
        yield user_entry(user.id, None, None)
