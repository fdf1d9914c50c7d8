"""What a call has several of, as lists: to read, to set, and to move into ``call.large`` when there are too many.

A call that is not large links its legs and its IVR entries, which needs less memory than tuples: ``Call.first_leg`` is
the first leg, ``Call.last_ivr`` the last entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ecounters.calls.items import IvrEntry, Leg, linked
from ecounters.calls.large import LargeCall
from ecounters.calls.record import Call

SMALL_MAX: Final = 16
"""The most legs of a call that is not large; and the most holds, IVR entries and DTMF inputs, each."""


def enlarge(call: Call) -> LargeCall:
    """Move the legs, holds, IVR entries and inputs of a call into a new ``call.large``, all of them as unsaved items.

    The inputs are uncounted then: what the call was counted with so far has them in ``Call.amounts``.
    """
    large = LargeCall()
    _move_legs(call, large)
    large.holds = list(call.holds or ())
    large.ivrs = list(ivr_entries(call))
    large.dtmfs = dict(call.dtmfs or {})
    large.unsaved = dict.fromkeys(large.items())
    large.uncounted = [(dtmf, 1) for dtmf in large.dtmfs.values()]
    call.holds = call.last_ivr = call.dtmfs = None
    call.large = large
    return large


def _move_legs(call: Call, large: LargeCall) -> None:
    """Move the legs of a call into what is to be its ``large``."""
    for leg in legs_of(call):
        large.legs[leg.id] = leg
        leg.later = None
    call.first_leg = None


def set_legs(call: Call, legs: list[Leg]) -> None:
    """Set the legs of a saved call, in their order.

    A call of format 1 may have more than SMALL_MAX legs, or IVR entries, and not be large: see ``partition.format_1``.
    Then both are put into ``call.large``, and its holds and inputs stay where they are until ``enlarge`` is called.
    """
    if len(legs) > SMALL_MAX:
        call.large = LargeCall()
        call.large.legs = {leg.id: leg for leg in legs}
        return
    later: Leg | None = None
    for leg in reversed(legs):
        leg.later, later = later, leg
    call.first_leg = later


def set_ivrs(call: Call, entries: list[IvrEntry]) -> None:
    """Set the IVR entries of a call: of one that is not large, or of a saved one. They must be sorted.

    A call of format 1 may have more than SMALL_MAX of them: see ``set_legs``.
    """
    if call.large is None and len(entries) > SMALL_MAX:
        large = LargeCall()
        _move_legs(call, large)
        call.large = large
    if call.large is None:
        call.last_ivr = linked(entries)
    else:
        call.last_ivr, call.large.ivrs = None, entries


def legs_of(call: Call) -> list[Leg]:
    """The legs of the call, in the order in which their first events were joined."""
    if call.large is not None:
        return list(call.large.legs.values())
    legs: list[Leg] = []
    leg = call.first_leg
    while leg is not None:
        legs.append(leg)
        leg = leg.later
    return legs


def ivr_entries(call: Call) -> Iterator[IvrEntry]:
    """The IvrEntry of each ivr.entered and ivr.left of the call, sorted."""
    if call.large is not None:
        return iter(call.large.ivrs)
    entries: list[IvrEntry] = []
    link = call.last_ivr
    while link is not None:
        entries.append((link.ts, link.id, link.left, link.ivr))
        link = link.earlier
    return reversed(entries)


def current_ivr(call: Call) -> str:
    """The IVR that the call is in: the one that it entered last and has not left since; "" if there is none."""
    if call.large is not None:
        return _current(call.large.ivrs)
    link = call.last_ivr
    left: list[str] = []
    while link is not None:
        if link.left:
            left.append(link.ivr)
        elif link.ivr not in left:
            return link.ivr
        link = link.earlier
    return ""


def _current(entries: list[IvrEntry]) -> str:
    """``current_ivr`` of a large call with these entries, which are sorted; of up to ENTRIES_MAX IVRs, so in a set."""
    left: set[str] = set()
    for _, _, is_left, ivr in reversed(entries):
        if is_left:
            left.add(ivr)
        elif ivr not in left:
            return ivr
    return ""
