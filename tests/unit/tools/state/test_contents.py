"""What a changelog holds, by its positions."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import FORMAT, POSITION, USER, position_entry, user_entry
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from streams.basics.terminal import Progress
from streams.kafka.log_reader import KeyedRow, LogReader, Unreadable
from streams.tools.state.contents import Contents, Fault, common_binding, read_contents

BINDING = Binding(EventsLog("k", "events", "", 3), "", (), "an import")
SAVED = position_entry(Position(FORMAT, 7, 0, 0, BINDING))[1] or b""
ACCOUNT = user_entry("u1", (1, "e1", 2), None)


def test_an_import_is_unfinished_where_partitions_lack_it() -> None:
    """Not where a position is missing behind entries: there somebody took it out."""
    positions = {at: Position(FORMAT, 0, 0, 0, BINDING) for at in range(2)}
    assert common_binding(positions, 3, {2}) == BINDING
    with pytest.raises(Stop, match="did not come to its end"):
        common_binding(positions, 3)


def faults(last: dict[bytes, tuple[int, bytes]], saved: tuple[int, bytes] | None, damaged: bool = False) -> list[Fault]:
    """What is wrong with a partition that has these entries, and had that position."""
    contents = Contents(0, last, saved=saved)
    contents.unreadable = [Unreadable(0, 1, 2, "why")] * damaged
    contents.check(1)
    return contents.faults


def test_a_position_is_put_back_only_if_it_is_that_of_all_entries() -> None:
    """One behind all entries is: each flush writes its position last. Of damaged records nobody knows that."""
    account = {ACCOUNT[0]: (4, ACCOUNT[1] or b"")}
    assert faults({}, (5, SAVED)) == []
    assert [fault.value for fault in faults(account, (5, SAVED))] == [SAVED]
    for lost in (faults(account, (3, SAVED)), faults(account, None), faults(account, (5, SAVED), damaged=True)):
        assert [(fault.key, fault.is_repairable) for fault in lost] == [(POSITION, False)]
    assert [fault.key for fault in faults({b"foreign": (9, b"x"), **account}, (5, SAVED))] == [b"foreign", POSITION]
    assert [fault.key for fault in faults({USER + b"\xc1": (9, b"x")}, None)] == [USER + b"\xc1"]


@pytest.mark.parametrize("is_taken_out", [False, True])
def test_the_last_position_is_known_also_if_it_was_taken_out(is_taken_out: bool) -> None:
    """Whether it stands in one list of rows with what takes it out, or not."""
    first, last = ((at, *position_entry(Position(FORMAT, at, 0, 0))) for at in (3, 7))
    taken_out: list[KeyedRow] = [(8, POSITION, None)] if is_taken_out else []
    several: list[list[KeyedRow]] = [[first], [last], taken_out, [(9, *ACCOUNT)]]
    for lists in ([[first, last, *taken_out]], several):
        reader = cast(LogReader[KeyedRow], RowsReader(lists))
        contents = asyncio.run(read_contents(reader, 0, Progress("read", io.StringIO())))
        assert contents.saved == (7, last[2])
        assert (POSITION in contents.last) is not is_taken_out


class RowsReader:
    """Stands for a LogReader that gives these lists of rows."""

    def __init__(self, lists: Sequence[Sequence[KeyedRow]]) -> None:
        self.unreadable: list[Unreadable] = []
        self.ends = {0: 10}
        self._lists = lists

    async def up_to(self, _: int, __: int) -> AsyncIterator[Sequence[KeyedRow]]:
        """The lists."""
        for rows in self._lists:
            yield rows
