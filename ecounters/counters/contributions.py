"""What one call contributes to the counters: a function of its record alone.

A contribution is in two parts, for memory: unit slots, to which the call adds 1, and amounts, (slot, amount, slot,
amount, ...). The second are counts, and times in ms. A slot is a counter's key, "KEY/entry" for an entry of a map, or
an internal one that an average divides by: "rings", "holds" and "talks". ``User.settle`` adds the contribution to the
cell of the call's window and dimensions, and takes it back when the call has changed.
"""

from __future__ import annotations

from typing import Any, Final

from ecounters.calls.join import current_ivr, ivr_entries
from ecounters.calls.record import FORWARDED, FRESH, REPEAT, TRANSFERRED, Call, Leg
from ecounters.windows.cell import Amounts, UnitSlots

QUICK_HANG_UP_MS: Final = 5_000
"""CHSR counts callers who hung up less than this after the first ring."""

_INTERNED: dict[UnitSlots, UnitSlots] = {}
"""One object for equal unit slots: calls differ in few ways, and each live call refers to its unit slots."""
_INTERNED_MAX: Final = 65_536
"""Entries of the table. It is emptied beyond that; far fewer combinations are possible in practice."""


def contributions(call: Call, ended: int) -> tuple[UnitSlots, Amounts]:
    """What a started call adds to its cell. ``ended``: ``call.ended``, ms, 0 while the call lives.

    Equal unit slots of two results are the same object, unless the table of them was emptied in between.
    """
    unit_slots = ["TC"]
    amounts: list[Any] = []
    if call.caller_class == FRESH:
        unit_slots.append("freshCall")
    elif call.caller_class == REPEAT:
        unit_slots.append("repeatCall")
    if call.redirects & TRANSFERRED:
        unit_slots.append("TRSC")
    if call.redirects & FORWARDED:
        unit_slots.append("FWC")
    held_ms = 0
    if call.holds is not None:
        held_ms, intervals = _held(call.holds, ended)
        if intervals:
            unit_slots.append("holds")
            amounts += ("holdTime", held_ms)
    answered_at = _add_legs(call.legs, ended, unit_slots, amounts) if call.legs is not None else 0
    if answered_at:
        unit_slots.append("CNC")
        if ended:
            unit_slots.append("talks")
            amounts += ("actualTT", max(0, ended - answered_at - held_ms))
    elif ended:
        _add_unanswered(call, unit_slots)
    if call.dtmfs is not None:
        _add_dtmfs(call.dtmfs, amounts)
    key = tuple(unit_slots)
    if len(_INTERNED) > _INTERNED_MAX:
        _INTERNED.clear()
    return _INTERNED.setdefault(key, key), tuple(amounts)


def _add_dtmfs(dtmfs: dict[str, tuple[int, str, bool, str]], amounts: list[Any]) -> None:
    """Add each DTMF input to the maps by digits, and to the map by IVR if it was made in one."""
    for _, digits, valid, ivr in dtmfs.values():
        amounts += ("DTMF/" + digits, 1, ("DTMFV/" if valid else "DTMFINV/") + digits, 1)
        if ivr:
            amounts += ("DTMFI/" + ivr, 1)


def _add_unanswered(call: Call, unit_slots: list[str]) -> None:
    """Add an ended, unanswered call: ghost if no leg rang and it never was in an IVR, else missed; and CHSR."""
    first_ring = min((leg.ringing for leg in call.legs or () if leg.ringing), default=0)
    if not first_ring and not any(entered for _, _, entered, _ in ivr_entries(call)):
        unit_slots.append("GHC")
    else:
        unit_slots.append("MC")
    if first_ring and call.ended_by == "caller" and call.end - first_ring < QUICK_HANG_UP_MS:
        unit_slots.append("CHSR")


def _add_legs(legs: tuple[Leg, ...], ended: int, unit_slots: list[str], amounts: list[Any]) -> int:
    """Add what the legs that are not open give: their class, their ring time, and both for retry legs alone.

    A leg is open until it is answered or ended, or the call ends. Returns when the first leg was answered, 0 if none.
    """
    first_answer = outcomes = rings = ring_ms = 0
    retries = retry_outcomes = retry_ghosts = 0
    for leg in legs:
        answered, rang = leg.answered, leg.ringing
        closed_at = answered or leg.ended or ended
        if not closed_at:
            continue
        if answered:
            outcome = _ANSWERED
            if not first_answer or answered < first_answer:
                first_answer = answered
        else:
            outcome = _MISSED if rang else _GHOST
        outcomes |= outcome
        if rang:
            rings += 1
            ring_ms += max(0, closed_at - rang)
        if leg.retry:
            retries += 1
            retry_outcomes |= outcome
            if outcome == _GHOST:
                retry_ghosts += 1
    if outcomes:
        unit_slots += ("UC", _CLASSES[outcomes])
    if rings:
        amounts += ("ringTime", ring_ms, "rings", rings)
    if retries:
        retry_class = "FR_" + _CLASSES[retry_outcomes]
        unit_slots += ("FR_UC", retry_class)
        amounts += ("FR_UC_N", retries)
        if retry_class != "FR_GH_UC":
            amounts += (retry_class + "_N", retries)
        if retry_ghosts:
            amounts += ("FR_GH_N", retry_ghosts)
    return first_answer


_ANSWERED, _MISSED, _GHOST = 1, 2, 4
"""Bit flags: the outcome of a leg that is not open. Answered; rang, not answered; never rang."""
_CLASSES: Final = {
    _ANSWERED: "CA",
    _ANSWERED | _GHOST: "CA",
    _MISSED: "CM",
    _MISSED | _GHOST: "CM",
    _ANSWERED | _MISSED: "PM",
    _ANSWERED | _MISSED | _GHOST: "PM",
    _GHOST: "GH_UC",
}
"""The outcomes of a call's legs, together -> the counter of its class."""


def _held(holds: tuple[tuple[int, str, bool], ...], ended: int) -> tuple[int, int]:
    """(ms on hold, number of closed intervals).

    A call.held opens an interval if none is open; a call.resumed or the call's end closes it. Later events than the
    end do not count:

        held  held  resumed  held  end  resumed
        |--------------|     |------|
    """
    total = intervals = opened = 0
    for ts, _, held in holds:
        if ended and ts > ended:
            break
        if held:
            opened = opened or ts
        elif opened:
            total += ts - opened
            intervals += 1
            opened = 0
    if opened and ended:
        total += ended - opened
        intervals += 1
    return total, intervals


def live_key(call: Call) -> tuple[str, str, str, str]:
    """(type, campaign, DID, IVR) under which a live call is counted; "" for a part that it does not have."""
    return call.type, call.campaign, call.did, current_ivr(call)
