"""What one call contributes to the counters: a function of its record alone.

A contribution has four parts, because a call's record keeps them in less memory than a dict:

    units            the slots to which the call adds 1, as bit flags: see ``windows.units``
    ring_ms, rings   how long its legs rang, in ms, and how many did: nearly every call has these
    amounts          (slot, amount, slot, amount, ...) for the other slots; an amount is a count or a time in ms

A slot is the key of a counter of Kind COUNT or SECONDS, "KEY/entry" for an entry of an INPUT_MAP, or the divisor of an
average: "rings", "holds" or "talks". ``User.settle`` adds the contribution to the cell of the call's window and
dimensions. When the call has changed, it adds what the new contribution has more, and takes back what it has less.

The inputs of a large call are no part of its contribution: ``User`` adds those that are new, by ``input_amounts``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ecounters.calls.items import Dtmf, Hold, Leg
from ecounters.calls.lists import current_ivr, ivr_entries, legs_of
from ecounters.calls.live_key import LiveKey
from ecounters.calls.record import FORWARDED, FRESH, REPEAT, TRANSFERRED, Call
from ecounters.windows.calendar import FOREVER_MS
from ecounters.windows.cell import Amounts
from ecounters.windows.units import (
    CA,
    CHSR,
    CM,
    CNC,
    FR_CA,
    FR_CM,
    FR_GH_UC,
    FR_PM,
    FR_UC,
    FRESHCALL,
    FWC,
    GH_UC,
    GHC,
    HOLDS,
    MC,
    PM,
    REPEATCALL,
    TALKS,
    TC,
    TRSC,
    UC,
)

QUICK_HANG_UP_MS: Final = 5_000
"""CHSR counts unanswered calls whose caller hung up less than this after the first ring."""


def contributions(call: Call, ended: int, version: int = 2) -> tuple[int, int, int, Amounts]:
    """(units, ring_ms, rings, amounts) of a call with a call.started. ``ended``: ``call.ended``, 0 if it lives.

    ``version``: 1 for the definitions by which the calls of a changelog of format 1 were counted: an answer after the
    end was an answer, CHSR counted calls that rang after their end, and all time on hold was taken from actualTT.
    """
    units, amounts = TC, list[Any]()
    if call.caller_class == FRESH:
        units |= FRESHCALL
    elif call.caller_class == REPEAT:
        units |= REPEATCALL
    if call.redirects & TRANSFERRED:
        units |= TRSC
    if call.redirects & FORWARDED:
        units |= FWC
    answered_at = first_ring = ring_ms = rings = 0
    legs = legs_of(call)
    holds: Iterable[Hold] | None = call.holds if call.large is None else call.large.holds
    if legs:
        last_answer = call.end if call.end and version > 1 else FOREVER_MS
        of_legs, ring_ms, rings, answered_at, first_ring = _of_legs(legs, ended, last_answer, amounts)
        units |= of_legs
    held_ms = 0
    if holds is not None:
        of_holds, held_ms = _of_holds(holds, ended, answered_at if version > 1 else 0, amounts)
        units |= of_holds
    if answered_at:
        units |= CNC
        if ended:
            units |= TALKS
            amounts += ("actualTT", max(0, ended - answered_at - held_ms))
    elif ended:
        units |= _of_unanswered(call, first_ring, 0 if version > 1 else -FOREVER_MS)
    if call.dtmfs is not None:
        amounts += input_amounts(call.dtmfs.values())
    return units, ring_ms, rings, tuple(amounts)


SLOTS_LEAST: Final = 10
"""What ``slots_to_count`` is at least: more than the units of most calls."""


def slots_to_count(call: Call) -> int:
    """About how many slots are changed to count a call that has changed; call this before it is counted.

    An input has up to three slots, which are first taken back if the call is in a cell already. The inputs of a large
    call are all counted anew if an end moves it to another cell.
    """
    large = call.large
    if large is None:
        return SLOTS_LEAST if call.dtmfs is None else SLOTS_LEAST + 6 * len(call.dtmfs)
    inputs = len(large.dtmfs) if call.cell is None or call.ended else len(large.uncounted)
    return SLOTS_LEAST + len(large.legs) + len(large.holds) + len(large.ivrs) + 6 * inputs


def input_amounts(dtmfs: Iterable[Dtmf]) -> list[Any]:
    """The amounts of DTMF inputs: each adds to DTMF, to DTMFV or DTMFINV and, if it was made in an IVR, to DTMFI."""
    amounts: list[Any] = []
    for _, digits, valid, ivr in dtmfs:
        slot, valid_slot, invalid_slot = _SLOTS_OF_DIGITS.get(digits) or _slots_of_digits(digits)
        amounts += (slot, 1, valid_slot if valid else invalid_slot, 1)
        if ivr:
            amounts += (_SLOT_OF_IVR.get(ivr) or _slot_of_ivr(ivr), 1)
    return amounts


# Slots of inputs are made once: to make and hash the names anew for each count takes longer than to add to the slots.

_SLOTS_OF_DIGITS: Final[dict[str, tuple[str, str, str]]] = {}
"""Digits -> their slots of DTMF, DTMFV and DTMFINV."""
_SLOT_OF_IVR: Final[dict[str, str]] = {}
"""IVR -> its slot of DTMFI."""
_NAMES_MAX: Final = 16_384
"""A table of so many names is emptied: a switch may send ever new ones."""


def _slots_of_digits(digits: str) -> tuple[str, str, str]:
    """Put the slots of digits into their table, and return them."""
    if len(_SLOTS_OF_DIGITS) >= _NAMES_MAX:
        _SLOTS_OF_DIGITS.clear()
    slots = _SLOTS_OF_DIGITS[digits] = ("DTMF/" + digits, "DTMFV/" + digits, "DTMFINV/" + digits)
    return slots


def _slot_of_ivr(ivr: str) -> str:
    """Put the slot of an IVR into its table, and return it."""
    if len(_SLOT_OF_IVR) >= _NAMES_MAX:
        _SLOT_OF_IVR.clear()
    slot = _SLOT_OF_IVR[ivr] = "DTMFI/" + ivr
    return slot


def _of_unanswered(call: Call, first_ring: int, least_ms: int) -> int:
    """GHC or MC, and CHSR, of an ended, unanswered call.

    It is a ghost call (GHC) if no leg rang and it has no ivr.entered, else a missed one (MC). It counts in CHSR too if
    the caller hung up ``least_ms`` to less than QUICK_HANG_UP_MS after the first ring.
    """
    if not first_ring:
        return GHC if all(is_left for _, _, is_left, _ in ivr_entries(call)) else MC
    if call.ended_by == "caller" and least_ms <= call.end - first_ring < QUICK_HANG_UP_MS:
        return MC | CHSR
    return MC


def _of_legs(legs: list[Leg], ended: int, last_answer: int, amounts: list[Any]) -> tuple[int, int, int, int, int]:
    """(units, ring_ms, rings, first answer, first ring) of a call's legs. Adds the counts of retry legs to ``amounts``.

    The units are the class of the call, by its legs that are not open, and the class for FR_..., by the retry legs
    among them. A leg that ended "elsewhere" is left out. A leg is open until it is answered or ended, or the call ends.
    An answer later than ``last_answer`` is none. The earliest answer and the first ring are times, in ms; 0 if no leg
    was answered, or none rang.
    """
    units = first_answer = first_ring = outcomes = rings = ring_ms = 0
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
        units = UC | _CLASSES[outcomes]
    if retries:
        units |= FR_UC | _RETRY_CLASSES[retry_outcomes]
        amounts += ("FR_UC_N", retries)
        if retry_outcomes != _GHOST:
            amounts += (_RETRY_LEGS[retry_outcomes], retries)
        if retry_ghosts:
            amounts += ("FR_GH_N", retry_ghosts)
    return units, ring_ms, rings, first_answer, first_ring


_ANSWERED: Final = 1
_MISSED: Final = 2
_GHOST: Final = 4
"""Bit flags: the outcome of a leg that is not open. _MISSED: it rang and was not answered. _GHOST: neither."""
_CLASSES: Final = (0, CA, CM, PM, GH_UC, CA, CM, PM)
"""The class of a call, by the flags of all outcomes of its legs: ghosts beside other legs do not matter."""
_RETRY_CLASSES: Final = (0, FR_CA, FR_CM, FR_PM, FR_GH_UC, FR_CA, FR_CM, FR_PM)
_RETRY_LEGS: Final = ("", "FR_CA_N", "FR_CM_N", "FR_PM_N", "", "FR_CA_N", "FR_CM_N", "FR_PM_N")
"""The class by the retry legs alone, and the counter of retry legs of the calls in that class."""


def _of_holds(holds: Iterable[Hold], ended: int, answered_at: int, amounts: list[Any]) -> tuple[int, int]:
    """(units, ms on hold after ``answered_at``). Adds the time on hold, of the closed intervals, to ``amounts``.

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
    if not intervals:
        return 0, after_ms
    amounts += ("holdTime", total_ms)
    return HOLDS, after_ms


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
