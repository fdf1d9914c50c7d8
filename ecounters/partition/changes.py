"""Changes: what a partition's next flush must write to the changelog."""

from __future__ import annotations

from collections.abc import Generator

from ecounters.calls.record import CHANGED, DIRTY, SAVED, TOUCHED, Call, CallOwner
from ecounters.changelog.entries import ENTRY_BYTES, Entry, Position, call_entry, position_entry


class Changes:
    """The calls and accounts of one partition that have changed since the last flush, and the calls that it dropped.

    Writers: PartitionState and Timeouts note changes; ``take`` turns all of them into entries and begins anew. A call
    is noted once for each flush, however often it changes: its flag DIRTY says that it is noted.
    """

    __slots__ = ("_calls", "_dropped", "_users", "in_steps")

    def __init__(self) -> None:
        self.in_steps = False
        """Whether a ``take`` is between two entries."""
        self._calls: list[Call] = []
        self._dropped: list[Call] = []
        self._users: dict[CallOwner, None] = {}  # whose cells, numbers or balances may have changed

    def __bool__(self) -> bool:
        """Whether the next flush has more to write than the position."""
        return bool(self._users or self._dropped)

    @property
    def bytes(self) -> int:
        """About how large the entries of the next flush are."""
        return ENTRY_BYTES * (len(self._calls) + len(self._dropped))

    def touch(self, call: Call) -> None:
        """Note that a call has changed: it must be counted (TOUCHED) and saved (DIRTY)."""
        flags, user = call.flags, call.user
        if not flags & TOUCHED:
            user.touched.append(call)
        if not flags & DIRTY:
            self._calls.append(call)
            self._users[user] = None
        call.flags = flags | CHANGED

    def add_user(self, user: CallOwner) -> None:
        """Note that an account has changed beside its calls."""
        self._users[user] = None

    def add_dropped(self, call: Call) -> None:
        """Note that a record was dropped. It needs a tombstone if the changelog has it, and no entry any more."""
        if call.flags & SAVED:
            self._dropped.append(call)
        call.flags &= ~DIRTY

    def take(self, position: Position) -> Generator[Entry]:
        """Yield the entries of all changes and forget them; the entry of the position comes last.

        The tombstones come first: a call id may come back after its record was dropped. Each call is counted before
        it is saved, because the cells that this flush writes must hold its contribution.
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
                    call.user.settle_one(call)  # one at a time: all touched calls of an account can be a long step
                    yield call_entry(call.user.id, call)
            for user in users:
                yield from user.take_changes()
            yield position_entry(position)
        finally:
            self.in_steps = False
