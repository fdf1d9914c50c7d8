"""Restoring: a partition's state, made out of its changelog.

While the log is read only the last entry of each key is kept, as bytes: what was written again since, or removed, is
never decoded. The rest is made in steps, and an entry's bytes are let go as soon as it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ecounters.calls.record import Call
from ecounters.changelog import entries as saving
from ecounters.partition.state import PartitionState

STEP: Final = 100
"""Entries in one step of ``making``: less than 1 ms."""


class Restoring:
    """``take`` all entries, in the log's order; then ``making``, to its end; then ``state`` is what was saved."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self._last: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """How many keys there are to make."""
        return len(self._last)

    def take(self, entries: Iterable[saving.Entry]) -> None:
        """Note what entries say."""
        last = self._last
        for key, value in entries:
            if value is None:
                last.pop(key, None)
            else:
                last[key] = value

    def making(self) -> Iterator[None]:
        """Make the state in short steps. ValueError for what this version does not know or cannot read."""
        last, state = self._last, self.state
        position = last.pop(saving.POSITION, None)  # first of all: it tells the format
        if position is not None:
            state.begin_at(saving.read_position(position))
        calls: list[Call] = []
        while last:
            for _ in range(min(STEP, len(last))):
                call = self._make(*last.popitem())
                if call is not None:
                    calls.append(call)
            yield
        for at in range(0, len(calls), STEP):  # now that all cells are there
            for call in calls[at : at + STEP]:
                state.restore_call(call)
            yield

    def _make(self, key: bytes, value: bytes) -> Call | None:
        """Put what an entry tells of where it belongs; a call is not counted in yet."""
        kind = key[:1]
        if kind == saving.CALL:
            user_id, call = saving.read_call(key, value)
            call.user = self.state.user(user_id)
            return call
        if kind == saving.NUMBER:
            user_id, number, last = saving.read_number(key, value)
            self.state.user(user_id).numbers[number] = last
        elif kind == saving.CELL:
            user_id, begin, end, dims, counts = saving.read_cell(key, value)
            self.state.user(user_id).spans.restore(begin, end, dims, counts)
        elif kind == saving.USER:
            user_id, balance, call_balance = saving.read_user(key, value)
            user = self.state.user(user_id)
            user.balance, user.call_balance = balance, call_balance
        else:
            raise ValueError(f"the changelog has an entry that this version does not know: {key[:40]!r}")
        return None
