"""What one call contributes to the counters: a function of its record alone.

A contribution is two tuples, because they need less memory than a dict:

    unit slots   (slot, slot, ...): the call adds 1 to each
    amounts      (slot, amount, slot, amount, ...): an amount is a count or a time in ms

A slot is the key of a counter of Kind COUNT or SECONDS, "KEY/entry" for an entry of an INPUT_MAP, or the divisor of an
average: "rings", "holds" or "talks". ``User.settle`` adds the contribution to the cell of the call's window and
dimensions. When the call has changed, it takes the old contribution back and adds the new one.
"""

from __future__ import annotations

from typing import Any, Final

from ecounters.calls.join import current_ivr, ivr_entries
from ecounters.calls.record import FORWARDED, FRESH, REPEAT, TRANSFERRED, Call, Leg
from ecounters.windows.cell import Amounts, UnitSlots

QUICK_HANG_UP_MS: Final = 5_000
"""CHSR counts unanswered calls whose caller hung up less than this after the first ring."""

_INTERNED: dict[UnitSlots, UnitSlots] = {}
"""One tuple for equal unit slots: each call's record refers to its unit slots, and few of them are different."""
_INTERNED_MAX: Final = 65_536
"""The table is emptied when it has more entries than this. Only some thousand combinations are possible."""


def contributions(call: Call, ended: int) -> tuple[UnitSlots, Amounts]:
    """(unit slots, amounts) that a call with a call.started adds to its cell. ``ended``: ``call.ended``, 0 if it lives.

    Equal unit slots of two results are the same object, unless _INTERNED was emptied in between. ``User`` compares them
    by ``is``: other objects cost time, but count right.
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
    """Add each DTMF input to DTMF, to DTMFV or DTMFINV and, if it was made in an IVR, to DTMFI."""
    for _, digits, valid, ivr in dtmfs.values():
        amounts += ("DTMF/" + digits, 1, ("DTMFV/" if valid else "DTMFINV/") + digits, 1)
        if ivr:
            amounts += ("DTMFI/" + ivr, 1)


def _add_unanswered(call: Call, unit_slots: list[str]) -> None:
    """Add GHC or MC, and CHSR, for an ended, unanswered call.

    It is a ghost call (GHC) if no leg rang and it has no ivr.entered, else a missed one (MC).
    """
    first_ring = min((leg.ringing for leg in call.legs or () if leg.ringing), default=0)
    if not first_ring and not any(entered for _, _, entered, _ in ivr_entries(call)):
        unit_slots.append("GHC")
    else:
        unit_slots.append("MC")
    if first_ring and call.ended_by == "caller" and call.end - first_ring < QUICK_HANG_UP_MS:
        unit_slots.append("CHSR")


def _add_legs(legs: tuple[Leg, ...], ended: int, unit_slots: list[str], amounts: list[Any]) -> int:
    """Add the call's class (see ``_CLASSES``) and its ring time, by its legs that are not open; then the class and the
    counts of legs for FR_..., by the retry legs among them.

    A leg is open until it is answered or ended, or the call ends. Returns the time of the earliest answer, in ms; 0 if
    no leg was answered.
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
"""Bit flags: the outcome of a leg that is not open. _MISSED: it rang and was not answered. _GHOST: neither."""
_CLASSES: Final = {
    _ANSWERED: "CA",
    _ANSWERED | _GHOST: "CA",
    _MISSED: "CM",
    _MISSED | _GHOST: "CM",
    _ANSWERED | _MISSED: "PM",
    _ANSWERED | _MISSED | _GHOST: "PM",
    _GHOST: "GH_UC",
}
"""The flags of all outcomes of a call's legs -> the counter of the call's class."""


def _held(holds: tuple[tuple[int, str, bool], ...], ended: int) -> tuple[int, int]:
    """(ms on hold, number of closed intervals), from the sorted ``Call.holds``.

    A call.held opens an interval if none is open; a call.resumed or the call's end closes it. Events after the end do
    not count:

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
    """(type, campaign, DID, IVR) under which a live call is counted; "" for a value that it does not have."""
    return call.type, call.campaign, call.did, current_ivr(call)
