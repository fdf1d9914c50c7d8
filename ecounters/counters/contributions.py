"""What one call contributes to the counters."""

from __future__ import annotations

from typing import Any, Final

from ecounters.calls.join import current_ivr, ivr_entries
from ecounters.calls.record import FORWARDED, FRESH, REPEAT, TRANSFERRED, Call, Leg
from ecounters.windows.cell import Amounts, UnitSlots

QUICK_HANG_UP_MS: Final = 5_000

_KINDS: dict[UnitSlots, UnitSlots] = {}
_KINDS_MAX: Final = 65_536


def contributions(call: Call, ended: int) -> tuple[UnitSlots, Amounts]:
    """What a started call adds to the cell of its window, type, campaign, DID and status. ``ended``: ``call.ended``."""
    ones = ["TC"]
    sums: list[Any] = []
    if call.caller_class == FRESH:
        ones.append("freshCall")
    elif call.caller_class == REPEAT:
        ones.append("repeatCall")
    if call.redirects & TRANSFERRED:
        ones.append("TRSC")
    if call.redirects & FORWARDED:
        ones.append("FWC")
    held = 0
    if call.holds is not None:
        held, intervals = _held(call.holds, ended)
        if intervals:
            ones.append("holds")
            sums += ("holdTime", held)
    answered_at = _of_legs(call.legs, ended, ones, sums) if call.legs is not None else 0
    if answered_at:
        ones.append("CNC")
        if ended:
            ones.append("talks")
            sums += ("actualTT", max(0, ended - answered_at - held))
    elif ended:
        _unanswered(call, ones)
    if call.dtmfs is not None:
        _pressed(call.dtmfs, sums)
    kind = tuple(ones)
    if len(_KINDS) > _KINDS_MAX:
        _KINDS.clear()
    return _KINDS.setdefault(kind, kind), tuple(sums)


def _pressed(dtmfs: dict[str, tuple[int, str, bool, str]], sums: list[Any]) -> None:
    for _, digits, valid, ivr in dtmfs.values():
        sums += ("DTMF/" + digits, 1, ("DTMFV/" if valid else "DTMFINV/") + digits, 1)
        if ivr:
            sums += ("DTMFI/" + ivr, 1)


def _unanswered(call: Call, ones: list[str]) -> None:
    """Ghost or missed, and whether the caller gave up at once."""
    first_ring = min((leg.ringing for leg in call.legs or () if leg.ringing), default=0)
    if not first_ring and not any(entered for _, _, entered, _ in ivr_entries(call)):
        ones.append("GHC")
    else:
        ones.append("MC")
    if first_ring and call.ended_by == "caller" and call.end - first_ring < QUICK_HANG_UP_MS:
        ones.append("CHSR")


def _of_legs(legs: tuple[Leg, ...], ended: int, ones: list[str], sums: list[Any]) -> int:
    """Add what the legs give; return when the first of them was answered (0: none was)."""
    first_answer = seen = rings = ring_ms = 0
    retries = retries_seen = retry_ghosts = 0
    for leg in legs:
        answered, rang = leg.answered, leg.ringing
        over = answered or leg.ended or ended
        if not over:
            continue
        if answered:
            how = _ANSWERED
            if not first_answer or answered < first_answer:
                first_answer = answered
        else:
            how = _MISSED if rang else _GHOST
        seen |= how
        if rang:
            rings += 1
            ring_ms += max(0, over - rang)
        if leg.retry:
            retries += 1
            retries_seen |= how
            if how == _GHOST:
                retry_ghosts += 1
    if seen:
        ones += ("UC", _CLASSES[seen])
    if rings:
        sums += ("ringTime", ring_ms, "rings", rings)
    if retries:
        of = "FR_" + _CLASSES[retries_seen]
        ones += ("FR_UC", of)
        sums += ("FR_UC_N", retries)
        if of != "FR_GH_UC":
            sums += (of + "_N", retries)
        if retry_ghosts:
            sums += ("FR_GH_N", retry_ghosts)
    return first_answer


_ANSWERED, _MISSED, _GHOST = 1, 2, 4
"""What a leg that is not open is."""
_CLASSES: Final = {
    _ANSWERED: "CA",
    _ANSWERED | _GHOST: "CA",
    _MISSED: "CM",
    _MISSED | _GHOST: "CM",
    _ANSWERED | _MISSED: "PM",
    _ANSWERED | _MISSED | _GHOST: "PM",
    _GHOST: "GH_UC",
}
"""In which class those that were seen put a call."""


def _held(holds: tuple[tuple[int, str, bool], ...], ended: int) -> tuple[int, int]:
    """(ms on hold, closed intervals): a held opens one if none is open, a resumed or the call's end closes it."""
    total = intervals = opened = 0
    for ts, _, held in holds:
        if ended and ts > ended:
            break  # whatever is told of the time after the end
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
    """(type, campaign, DID, IVR) under which a live call counts."""
    return call.type, call.campaign, call.did, current_ivr(call)
