"""Changes: what a partition's next flush must write to the changelog."""

from __future__ import annotations

from collections.abc import Generator

from ecounters.calls.record import CHANGED, DIRTY, SAVED, TOUCHED, Call, CallOwner
from ecounters.changelog.entries import ENTRY_BYTES, Entry, Position, call_entry, position_entry


class Changes:
    """What has changed in one partition since the last ``take``: calls, accounts, and saved calls that were dropped.

    PartitionState and Timeouts note changes; ``take`` turns all of them into entries and begins anew. A call is noted
    once for each flush, however often it changes: its flag DIRTY says that it is noted.
    """

    __slots__ = ("_calls", "_dropped", "_users", "in_steps")

    def __init__(self) -> None:
        self.in_steps = False
        """True while a ``take`` has begun and is not at its end: nothing else may change the state then."""
        self._calls: list[Call] = []
        self._dropped: list[Call] = []
        self._users: dict[CallOwner, None] = {}  # whose cells, numbers or balances may have changed

    def __bool__(self) -> bool:
        """Whether the next flush may have more to write than the position."""
        return bool(self._users or self._dropped)

    @property
    def bytes(self) -> int:
        """About how many bytes the entries of the next flush have, estimated from the number of calls."""
        return ENTRY_BYTES * (len(self._calls) + len(self._dropped))

    def touch(self, call: Call) -> None:
        """Note that a call has changed: its account must count it (TOUCHED), the next flush must save it (DIRTY)."""
        flags, user = call.flags, call.user
        if not flags & TOUCHED:
            user.touched.append(call)
        if not flags & DIRTY:
            self._calls.append(call)
            self._users[user] = None
        call.flags = flags | CHANGED

    def add_user(self, user: CallOwner) -> None:
        """Note that cells, numbers or balances of an account may have changed."""
        self._users[user] = None

    def add_dropped(self, call: Call) -> None:
        """Note that a call's record was dropped: the next flush writes a tombstone if the changelog has the call.

        Clears DIRTY, so that the flush does not save the call. No ``touch`` of the call may follow.
        """
        if call.flags & SAVED:
            self._dropped.append(call)
        call.flags &= ~DIRTY

    def take(self, position: Position) -> Generator[Entry]:
        """Yield the entries of all changes and forget these; the entry of the position comes last.

        Tombstones come first, because a new record may have the id of a dropped one. Each call is counted before its
        entry is yielded. The cells follow, so they hold the contributions of all calls that this flush saves.
        """
        dropped, calls, users = self._dropped, self._calls, self._users
        self._dropped, self._calls, self._users = [], [], {}
        self.in_steps = True
        try:
            for call in dropped:
                yield call_entry(call.user.id, call, gone=True)
            for call in calls:
                if call.flags & DIRTY:  # else it was dropped since
                    call.flags = call.flags & ~DIRTY | SAVED
                    call.user.settle_one(call)  # not all of the account at once, which can be a long step
                    yield call_entry(call.user.id, call)
            for user in users:
                yield from user.take_changes()
            yield position_entry(position)
        finally:
            self.in_steps = False
