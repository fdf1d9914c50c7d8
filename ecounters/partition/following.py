"""Following: a state that is kept up to date with the changelog which another worker writes.

    followed = FollowedState(...)
    for _ in followed.applying(entries): ...     # each flush, as it is read
    for _ in followed.finishing(): ...           # to take the partition over
    followed.state                               # goes on as a restored one

Entries are absolute, so to apply them in the log's order gives what ``restoring.restore`` makes of the last value of
each key. Between two flushes replies can be made of the state: cells, balances and live calls are as the last flush has
them. What only events and time need, the timers and contributions of calls, is made in ``finishing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ecounters.calls.items import IVR, Item
from ecounters.calls.large import LargeCall
from ecounters.calls.record import SAVED, Call
from ecounters.changelog.checking import UNREADABLE, why, why_unreadable_key
from ecounters.changelog.entries import (
    CALL,
    CELL,
    FORMAT,
    ITEM,
    NO_POSITION,
    NUMBER,
    POSITION,
    SLOT,
    USER,
    Entry,
    UnreadableEntries,
    call_entry,
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
from ecounters.changelog.saved_call import restored_call
from ecounters.large_dict import LargeDict
from ecounters.partition.emptying import emptying
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import STEP, LargeCalls, account_in
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.windows.restoring import restore_cell, restore_slot

OTHER_FORMAT: Final = "a state of an earlier format is converted by a restore alone"


class FollowedState:
    """The state of one partition, made of the entries of its changelog as they come.

    ``state``: apply no event and advance no time before ``finishing`` has ended. Replies may be made of it when all
    entries of a flush are applied. ``entries``: how many were applied. ``unreadable``: key -> why it cannot be read, of
    what has not been replaced since; while it has one, the state is of no use.
    """

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        self.state = PartitionState(partition, partitions, policy)
        self.entries = 0
        self.unreadable: dict[bytes | None, str] = {}
        self._has_position = False
        self._large: LargeCalls = LargeDict()

    def applying(self, entries: Sequence[Entry]) -> Iterator[None]:
        """Apply entries in the order of the changelog; yield after each STEP.

        What is damaged, of an unknown kind or of another format goes into ``unreadable``, until it is replaced.
        """
        for begin in range(0, len(entries), STEP):
            for key, value in entries[begin : begin + STEP]:
                if self.unreadable:
                    self.unreadable.pop(key, None)
                try:
                    if value is not None:
                        self._put(key, value)
                    elif not why_unreadable_key(key):  # else there is nothing that it could take out
                        self._remove(key)
                except UNREADABLE as error:
                    self.unreadable[key] = why(error)
            yield
        self.entries += len(entries)

    def check(self) -> None:
        """Raise UnreadableEntries if the changelog, read up to the end of a flush, is not one of a state."""
        if self.unreadable:
            raise UnreadableEntries(dict(self.unreadable))
        if self.entries and not self._has_position:
            raise UnreadableEntries({POSITION: NO_POSITION})

    def finishing(self) -> Iterator[None]:
        """Make of the state what a restore makes, at the end of the changelog; yield after each STEP calls.

        Replies may be made between two steps. Raises UnreadableEntries as ``check`` and ``restoring.restore`` do.
        """
        self.check()
        state = self.state
        done = 0
        for user in state.users.values():
            for call in user.calls.values():
                try:
                    if not call.end or call.silence:
                        user.rebuild_contribution(call)
                    state.timeouts.restore(call)
                except UNREADABLE as error:
                    raise UnreadableEntries({call_entry(user.id, call)[0]: why(error)}) from error
                done += 1
                if done % STEP == 0:
                    yield
        for (user_id, call_id), items in self._large.items():
            if self._call(user_id, call_id) is None:  # Kafka did not take the entry of the call
                state.changes.add_left_over(user_id, call_id, items)
            done += 1
            if done % STEP == 0:
                yield
        yield

    def discarding(self) -> Iterator[None]:
        """Empty a state that nobody uses any more, in steps; see ``PartitionState.discarding``."""
        yield from emptying(self._large)
        yield from self.state.discarding()

    # ------------------------------------------------------------------------------------------- values

    def _put(self, key: bytes, value: bytes) -> None:
        """Apply an entry with a value. Raises one of UNREADABLE if it is damaged or of an unknown kind."""
        kind, state = key[:1], self.state
        if kind == CALL:
            user_id, call_id, saved = read_call(key, value)
            user = account_in(state, user_id)
            self._put_call(user, restored_call(saved, call_id, user))
        elif kind == ITEM:
            user_id, call_id, item, content = read_item(key, value)
            self._change_items(user_id, call_id, item, lambda items: items.replace(item, content))
            return
        elif kind == NUMBER:
            user_id, number, last_start = read_number(key, value)
            user = account_in(state, user_id)
            user.numbers[number] = last_start
        elif kind == CELL:
            user_id, begin, end, dims, counts = read_cell(key, value)
            user = account_in(state, user_id)
            restore_cell(user.spans, begin, end, dims, counts)
        elif kind == SLOT:
            user_id, begin, end, dims, slot, amount = read_slot(key, value)
            user = account_in(state, user_id)
            restore_slot(user.spans, begin, end, dims, slot, amount)
        elif kind == USER:
            user_id, balance, call_balance = read_user(key, value)
            user = account_in(state, user_id)
            user.balance, user.call_balance, user.dirty = balance, call_balance, False
        elif key == POSITION:
            self._set_position(value)
            return
        else:
            raise ValueError("this version does not know its kind")
        user.version += 1

    def _set_position(self, value: bytes) -> None:
        position = read_position(value)
        if position.format != FORMAT:
            raise ValueError(OTHER_FORMAT)
        state = self.state
        state.position, state.watermark, state.arrival = position.position, position.watermark, position.arrival
        state.binding, state.holes = position.binding, position.holes
        state.timeouts.begin_at(position.watermark)
        self._has_position = True

    def _put_call(self, user: User, call: Call) -> None:
        """Put a call into its account, in place of its earlier record."""
        old = user.calls.get(call.id)
        if old is not None:
            user.uncount_live(old)
        user.calls[call.id] = call
        call.flags |= SAVED
        if self._large:
            call.large = self._large.get((user.id, call.id))
        user.count_live(call)

    # ---------------------------------------------------------------------------------------- tombstones

    def _remove(self, key: bytes) -> None:
        """Apply a tombstone, whose key can be read."""
        kind = key[:1]
        if kind == POSITION:
            self._has_position = False
            return
        user_id = user_of(key)
        user = self.state.users.get(user_id)
        if kind == ITEM:
            self._remove_item(*read_item_key(key))
        if user is None:
            return
        if kind == CALL:
            call = user.calls.pop(read_pair_key(key)[1], None)
            if call is not None:
                user.uncount_live(call)
        elif kind == NUMBER:
            user.numbers.pop(read_pair_key(key)[1], None)
        elif kind == CELL:
            _, begin, end, dims = read_cell_key(key)
            restore_cell(user.spans, begin, end, dims, None)
        elif kind == SLOT:
            _, begin, end, dims, slot = read_slot_key(key)
            restore_slot(user.spans, begin, end, dims, slot, None)
        elif kind == USER:
            user.balance, user.call_balance, user.dirty = None, None, False
        user.version += 1
        if user.empty and not user.dirty:  # a reply may have forgotten balances that the changelog still has
            del self.state.users[user_id]

    def _remove_item(self, user_id: str, call_id: str, item: Item) -> None:
        items = self._large.get((user_id, call_id))
        if items is None:
            return
        self._change_items(user_id, call_id, item, lambda large: large.remove(item))
        if items.empty:
            del self._large[user_id, call_id]
            call = self._call(user_id, call_id)
            if call is not None:
                call.large = None

    # --------------------------------------------------------------------------------------- large calls

    def _call(self, user_id: str, call_id: str) -> Call | None:
        user = self.state.users.get(user_id)
        return user.calls.get(call_id) if user is not None else None

    def _change_items(self, user_id: str, call_id: str, item: Item, change: Callable[[LargeCall], None]) -> None:
        """Change the items of a large call. Its live count follows: it is by the IVR that the call is in."""
        items = self._large.setdefault((user_id, call_id), LargeCall())
        user = self.state.users.get(user_id)
        call = user.calls.get(call_id) if user is not None else None
        if user is None or call is None:
            change(items)
            return
        user.version += 1
        if item.kind != IVR and call.large is items:
            change(items)
            return
        user.uncount_live(call)
        change(items)
        call.large = items
        user.count_live(call)
