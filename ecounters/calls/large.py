"""LargeCall: the legs, holds, IVR entries and DTMF inputs of a call that has many of them.

An ordinary call keeps these in forms that need little memory: legs and IVR entries are linked, holds are in a tuple.
They are saved as part of the call's entry. For a call with many of them, each new one would go through all of them, and
each flush would write them all. So from the first kind that exceeds ``lists.SMALL_MAX`` on, ``Call.large`` holds all
four kinds in containers whose cost of an insertion does not grow with their length, and each leg, hold, IVR entry and
input becomes an entry of its own in the changelog.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from mypy_extensions import mypyc_attr

from ecounters.calls.items import DTMF, ENTRIES_MAX, HOLD, IVR, LEG, LEGS_MAX, Dtmf, Hold, Item, IvrEntry, Leg
from ecounters.errors import BadEvent
from ecounters.native import COMPILED, as_struct


@mypyc_attr(acyclic=True)
class LargeCall:
    """The containers of one large call.

    ==========  ==========================================================================  ==================
    field       meaning                                                                     written by
    ==========  ==========================================================================  ==================
    legs        leg id -> leg                                                               join, restoring
    holds       as ``Call.holds``, sorted                                                   join, restoring
    ivrs        (``ts``, event id, True if ivr.left, IVR), sorted                           join, restoring
    dtmfs       as ``Call.dtmfs``                                                           join, restoring
    unsaved     the items that have changed since the last flush, in the order of change    join, ``Changes``
    uncounted   (input, 1 or -1): what the call's cell has not of ``dtmfs`` (1), or has     join, ``User``
                although ``dtmfs`` has not (-1)
    ==========  ==========================================================================  ==================
    """

    legs: dict[str, Leg] = {}
    holds: list[Hold] = []
    ivrs: list[IvrEntry] = []
    dtmfs: dict[str, Dtmf] = {}
    unsaved: dict[Item, None] = {}
    uncounted: list[tuple[Dtmf, int]] = []

    def leg(self, leg_id: str, retry: int) -> Leg:
        """The leg of an event, which is about to change it; as ``join`` does for other calls.

        Raises BadEvent "call_too_large" if the leg is new and there are LEGS_MAX already.
        """
        leg = self.legs.get(leg_id)
        if leg is None:
            if len(self.legs) >= LEGS_MAX:
                raise BadEvent("call_too_large", "legId")
            leg = self.legs[leg_id] = Leg(leg_id, retry)
        elif retry > leg.retry:
            leg.retry = retry
        self.unsaved[Item(LEG, leg_id)] = None
        return leg

    def add_hold(self, hold: Hold) -> None:
        """Add a hold unless it is there. Raises BadEvent "call_too_large" if there are ENTRIES_MAX already."""
        if _insert(self.holds, hold):
            self.unsaved[Item(HOLD, hold)] = None

    def add_ivr(self, entry: IvrEntry) -> None:
        """Add an IVR entry unless it is there. Raises BadEvent "call_too_large" if there are ENTRIES_MAX already."""
        if _insert(self.ivrs, entry):
            self.unsaved[Item(IVR, entry)] = None

    def set_dtmf(self, event_id: str, dtmf: Dtmf) -> None:
        """Set the input of an event, if that has none or a larger one.

        Raises BadEvent "call_too_large" if it would be one input more than ENTRIES_MAX.
        """
        old = self.dtmfs.get(event_id)
        if old is not None:
            if dtmf >= old:
                return
            self.uncounted.append((old, -1))
        elif len(self.dtmfs) >= ENTRIES_MAX:
            raise BadEvent("call_too_large", "callId")
        self.dtmfs[event_id] = dtmf
        self.uncounted.append((dtmf, 1))
        self.unsaved[Item(DTMF, event_id)] = None

    def items(self) -> Iterator[Item]:
        """All items, in no particular order."""
        for leg_id in self.legs:
            yield Item(LEG, leg_id)
        for hold in self.holds:
            yield Item(HOLD, hold)
        for entry in self.ivrs:
            yield Item(IVR, entry)
        for event_id in self.dtmfs:
            yield Item(DTMF, event_id)

    def value_of(self, item: Item) -> Leg | Dtmf | None:
        """What is saved under an item's name. None for a hold and an IVR entry, whose name says all."""
        if item.kind == LEG:
            return self.legs[item.name]
        return self.dtmfs[item.name] if item.kind == DTMF else None

    def restore(self, item: Item, value: Any) -> None:
        """Add a saved item. Neither unsaved nor uncounted. Call ``sort`` after the last."""
        if item.kind == LEG:
            self.legs[item.name] = value
        elif item.kind == DTMF:
            self.dtmfs[item.name] = value
        elif item.kind == HOLD:
            self.holds.append(item.name)
        else:
            self.ivrs.append(item.name)

    def sort(self) -> None:
        """Sort what ``restore`` has added."""
        self.holds.sort()
        self.ivrs.sort()

    def replace(self, item: Item, value: Any) -> None:
        """Add a saved item, or replace its value. Neither unsaved nor uncounted; the order is kept."""
        if item.kind in (LEG, DTMF):
            self.restore(item, value)
            return
        entries: list[Any] = self.holds if item.kind == HOLD else self.ivrs
        index = bisect_left(entries, item.name)
        if index == len(entries) or entries[index] != item.name:
            entries.insert(index, item.name)

    def remove(self, item: Item) -> None:
        """Remove a saved item, if it is there."""
        if item.kind == LEG:
            self.legs.pop(item.name, None)
        elif item.kind == DTMF:
            self.dtmfs.pop(item.name, None)
        else:
            entries: list[Any] = self.holds if item.kind == HOLD else self.ivrs
            index = bisect_left(entries, item.name)
            if index < len(entries) and entries[index] == item.name:
                del entries[index]

    @property
    def empty(self) -> bool:
        """Whether there is no item."""
        return not (self.legs or self.holds or self.ivrs or self.dtmfs)


if not COMPILED:
    LargeCall = as_struct(LargeCall)


def _insert(entries: list[Any], entry: Any) -> bool:
    """Insert an entry into a sorted list, unless it is there; return whether it was inserted. Raises BadEvent."""
    index = bisect_left(entries, entry)
    if index < len(entries) and entries[index] == entry:
        return False
    if len(entries) >= ENTRIES_MAX:
        raise BadEvent("call_too_large", "callId")
    insort(entries, entry)
    return True
