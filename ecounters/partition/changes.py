"""Changes: what a partition's next flush must write to the changelog."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from ecounters.calls.large import LargeCall
from ecounters.calls.record import CHANGED, DIRTY, SAVED, TOUCHED, Call, CallOwner
from ecounters.changelog.entries import ENTRY_BYTES, Entry, call_entry, item_entries, position_entry
from ecounters.changelog.saved import Position
from ecounters.large_dict import LIMITS, LargeDict
from ecounters.partition.emptying import emptying
from ecounters.partition.tombstones import tombstones
from ecounters.partition.user import User


class Changes:
    """What has changed in one partition since the last ``take``: calls, accounts, saved calls that were dropped, and
    accounts that were erased.

    PartitionState and Timeouts note changes; ``take`` turns all of them into entries and begins anew. A call is noted
    once for each flush, however often it changes: its flag DIRTY says that it is noted.
    """

    __slots__ = ("_calls", "_dropped", "_erased", "_forgotten", "_left_over", "_users", "in_steps")

    def __init__(self) -> None:
        self.in_steps = False
        """True while a ``take`` has begun and is not at its end: nothing else may change the state then."""
        self._calls: LargeDict[Call, None] = LargeDict()  # those with the flag DIRTY
        self._dropped: LargeDict[Call, None] = LargeDict()
        self._erased: list[User] = []
        self._forgotten: list[CallOwner] = []
        self._left_over: list[tuple[str, str, LargeCall]] = []
        self._users: LargeDict[CallOwner, None] = LargeDict()  # whose cells, numbers or balances may have changed

    def __bool__(self) -> bool:
        """Whether the next flush may have more to write than the position."""
        return bool(self._users or self._dropped or self._erased or self._forgotten or self._left_over)

    @property
    def bytes(self) -> int:
        """About how many bytes the entries of the next flush have, estimated from the number of calls."""
        return ENTRY_BYTES * (len(self._calls) + len(self._dropped))

    def touch(self, call: Call) -> None:
        """Note that a call has changed: its account must count it (TOUCHED), the next flush must save it (DIRTY)."""
        flags, user = call.flags, call.user
        # Into ``first`` directly, as nearly always it has room: a method would cost time for each call.
        if not flags & TOUCHED:
            touched = user.touched
            if touched.parts or len(touched.first) >= LIMITS.first_max:
                touched[call] = None
            else:
                touched.first[call] = None
        if not flags & DIRTY:
            calls = self._calls
            if calls.parts or len(calls.first) >= LIMITS.first_max:
                calls[call] = None
            else:
                calls.first[call] = None
            if user not in self._users.first:
                self._users[user] = None
        call.flags = flags | CHANGED

    def add_user(self, user: CallOwner) -> None:
        """Note that cells, numbers or balances of an account may have changed."""
        if user not in self._users.first:
            self._users[user] = None

    def add_dropped(self, call: Call) -> None:
        """Note that a call's record was dropped: the next flush writes a tombstone if the changelog has the call.

        Clears DIRTY: the flush does not save the call. No ``touch`` of the call may follow.
        """
        if call.flags & SAVED:
            self._dropped[call] = None
        if call.flags & DIRTY:
            call.flags &= ~DIRTY
            del self._calls[call]

    def add_erased(self, user: User) -> None:
        """Note that an account was erased: the next flush writes tombstones for all that the changelog has of it.

        Sets ``user.erased``. The account must be in no partition state any more, and nothing may change it.
        """
        user.erased = True
        self._users.discard(user)
        self._erased.append(user)

    def add_forgotten(self, user: CallOwner) -> None:
        """Note that an account has nothing left and is in no state any more.

        What the next flush must write of it comes before what it writes of a later account of the same id.
        """
        if user in self._users:
            del self._users[user]
            self._forgotten.append(user)

    def add_left_over(self, user_id: str, call_id: str, items: LargeCall) -> None:
        """Note items in the changelog whose call it does not have: the next flush writes their tombstones.

        Else a later call with this id would get them at a restore.
        """
        self._left_over.append((user_id, call_id, items))

    def discarding(self) -> Iterator[None]:
        """Forget all changes without their entries, and yield after each: the partition's state is discarded."""
        yield from emptying(self._calls, self._dropped, self._forgotten, self._left_over, self._users)
        while self._erased:
            yield from self._erased.pop().discarding()

    def take(self, position: Position) -> Generator[Entry]:
        """Yield the entries of all changes and forget these; the entry of the position comes last.

        Tombstones come first, because a new record or account may have the id of an old one. Each call is counted
        before its entry is yielded. The cells follow, so they hold the contributions of all calls that the flush saves.
        """
        dropped, erased, calls, users = self._dropped, self._erased, self._calls, self._users
        forgotten, self._forgotten = self._forgotten[::-1], []
        self._dropped, self._erased, self._calls, self._users = LargeDict(), [], LargeDict(), LargeDict()
        self.in_steps = True
        try:
            for call in dropped.draining():  # so that the memory of each is freed at once, and not of all in one step
                yield call_entry(call.user.id, call, gone=True)
                if call.large is not None:
                    yield from item_entries(call.user.id, call.id, call.large, gone=True)
            while self._left_over:
                yield from item_entries(*self._left_over.pop(), gone=True)
            while erased:
                yield from tombstones(erased.pop())
            while forgotten:
                yield from forgotten.pop().take_changes()
            for call in calls.draining():
                user = call.user
                if user.erased:
                    call.flags &= ~DIRTY
                    continue
                call.flags = call.flags & ~DIRTY | SAVED
                user.settle_one(call)  # not all of the account at once, which can be a long step
                yield call_entry(user.id, call)
                if call.large is not None:
                    yield from item_entries(user.id, call.id, call.large)
            for owner in users.draining():
                yield from owner.take_changes()
            yield position_entry(position)
        finally:
            self.in_steps = False
