"""What one call contributes to the counters: a function of its record alone.

A contribution is two tuples, because they need less memory than a dict:

    unit slots   (slot, slot, ...): the call adds 1 to each
    amounts      (slot, amount, slot, amount, ...): an amount is a count or a time in ms

A slot is the key of a counter of Kind COUNT or SECONDS, "KEY/entry" for an entry of an INPUT_MAP, or the divisor of an
average: "rings", "holds" or "talks". ``User.settle`` adds the contribution to the cell of the call's window and
dimensions. When the call has changed, it takes the old contribution back and adds the new one.

The inputs of a large call are no part of its contribution: ``User`` adds those that are new, by ``input_amounts``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ecounters.calls.items import Dtmf, Hold, Leg
from ecounters.calls.join import current_ivr, ivr_entries
from ecounters.calls.live_key import LiveKey
from ecounters.calls.record import FORWARDED, FRESH, REPEAT, TRANSFERRED, Call
from ecounters.windows.cell import Amounts, UnitSlots

QUICK_HANG_UP_MS: Final = 5_000
"""CHSR counts unanswered calls whose caller hung up less than this after the first ring."""

_NO_LIMIT_MS: Final = 2**62

_INTERNED: Final[dict[UnitSlots, UnitSlots]] = {}
"""One tuple for equal unit slots: each call's record refers to its unit slots, and few of them are different."""
_INTERNED_MAX: Final = 65_536
"""The table is emptied when it has more entries than this. Only some thousand combinations are possible."""


def contributions(call: Call, ended: int, version: int = 2) -> tuple[UnitSlots, Amounts]:
    """(unit slots, amounts) that a call with a call.started adds to its cell. ``ended``: ``call.ended``, 0 if it lives.

    ``version``: 1 for the definitions by which the calls of a changelog of format 1 were counted: an answer after the
    end was an answer, CHSR counted calls that rang after their end, and all time on hold was taken from actualTT.
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
    _add_outcome(call, ended, version, unit_slots, amounts)
    if call.dtmfs is not None:
        amounts += input_amounts(call.dtmfs.values())
    key = tuple(unit_slots)
    if len(_INTERNED) > _INTERNED_MAX:
        _INTERNED.clear()
    return _INTERNED.setdefault(key, key), tuple(amounts)


def _add_outcome(call: Call, ended: int, version: int, unit_slots: list[str], amounts: list[Any]) -> None:
    """Add what a call's legs and holds count, the call's outcome, and the time talked."""
    answered_at = first_ring = held_ms = 0
    legs: Iterable[Leg] | None = call.legs
    holds: Iterable[Hold] | None = call.holds
    if call.large is not None:
        legs, holds = call.large.legs.values(), call.large.holds
    if legs is not None:
        last_answer = call.end if call.end and version > 1 else _NO_LIMIT_MS
        answered_at, first_ring = _add_legs(legs, ended, last_answer, unit_slots, amounts)
    if holds is not None:
        held_ms = _add_holds(holds, ended, answered_at if version > 1 else 0, unit_slots, amounts)
    if answered_at:
        unit_slots.append("CNC")
        if ended:
            unit_slots.append("talks")
            amounts += ("actualTT", max(0, ended - answered_at - held_ms))
    elif ended:
        _add_unanswered(call, first_ring, 0 if version > 1 else -_NO_LIMIT_MS, unit_slots)


def input_amounts(dtmfs: Iterable[Dtmf]) -> list[Any]:
    """The amounts of DTMF inputs: each adds to DTMF, to DTMFV or DTMFINV and, if it was made in an IVR, to DTMFI."""
    amounts: list[Any] = []
    for _, digits, valid, ivr in dtmfs:
        amounts += ("DTMF/" + digits, 1, ("DTMFV/" if valid else "DTMFINV/") + digits, 1)
        if ivr:
            amounts += ("DTMFI/" + ivr, 1)
    return amounts


def _add_unanswered(call: Call, first_ring: int, least_ms: int, unit_slots: list[str]) -> None:
    """Add GHC or MC, and CHSR, for an ended, unanswered call.

    It is a ghost call (GHC) if no leg rang and it has no ivr.entered, else a missed one (MC). It counts in CHSR too if
    the caller hung up ``least_ms`` to less than QUICK_HANG_UP_MS after the first ring.
    """
    if not first_ring and all(is_left for _, _, is_left, _ in ivr_entries(call)):
        unit_slots.append("GHC")
    else:
        unit_slots.append("MC")
    if first_ring and call.ended_by == "caller" and least_ms <= call.end - first_ring < QUICK_HANG_UP_MS:
        unit_slots.append("CHSR")


def _add_legs(
    legs: Iterable[Leg], ended: int, last_answer: int, unit_slots: list[str], amounts: list[Any]
) -> tuple[int, int]:
    """Add the call's class (see ``_CLASSES``) and its ring time, by its legs that are not open; then the class and the
    counts of legs for FR_..., by the retry legs among them.

    A leg that ended "elsewhere" is left out. A leg is open until it is answered or ended, or the call ends. An answer
    later than ``last_answer`` is none. Returns the times of the earliest answer and of the first ring, in ms; 0 if no
    leg was answered, or none rang.
    """
    first_answer = first_ring = outcomes = rings = ring_ms = 0
    retries = retry_outcomes = retry_ghosts = 0
    for leg in legs:
        if leg.elsewhere:
            continue
        rang, answered = leg.ringing, leg.answered if leg.answered <= last_answer else 0
        if rang and (not first_ring or rang < first_ring):
            first_ring = rang
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
    return first_answer, first_ring


_ANSWERED: Final = 1
_MISSED: Final = 2
_GHOST: Final = 4
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


def _add_holds(holds: Iterable[Hold], ended: int, answered_at: int, unit_slots: list[str], amounts: list[Any]) -> int:
    """Add the time on hold, of the closed intervals; return how many ms of these lie after ``answered_at``.

    A call.held opens an interval if none is open; a call.resumed or the call's end closes it. Events after the end do
    not count:

        held  held  resumed  held  end  resumed
        |--------------|     |------|
    """
    total_ms = after_ms = intervals = opened = 0
    for ts, _, resumed in holds:
        if ended and ts > ended:
            break
        if not resumed:
            opened = opened or ts
        elif opened:
            total_ms += ts - opened
            after_ms += max(0, ts - max(opened, answered_at))
            intervals += 1
            opened = 0
    if opened and ended:
        total_ms += ended - opened
        after_ms += max(0, ended - max(opened, answered_at))
        intervals += 1
    if intervals:
        unit_slots.append("holds")
        amounts += ("holdTime", total_ms)
    return after_ms


def live_key(call: Call, old: LiveKey | None) -> LiveKey:
    """The key under which a live call is counted; "" for a value that it does not have."""
    ivr = current_ivr(call)
    if (
        old is not None
        and old.ivr == ivr
        and old.did == call.did
        and old.campaign == call.campaign
        and old.type == call.type
    ):
        return old
    return LiveKey(call.type, call.campaign, call.did, ivr)
