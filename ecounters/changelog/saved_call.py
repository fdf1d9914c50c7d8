"""The saved form of a call: an array of the fields of ``Call`` that the changelog keeps.

``saved_form`` writes the array, ``SavedCall`` reads it, and ``restored_call`` makes a record of it. All list the same
fields, in the same order. A change of the order or of the fields needs another ``entries.FORMAT``.
"""

from __future__ import annotations

from typing import Any

from ecounters.calls.items import IvrEntry, IvrLink, Leg
from ecounters.calls.lists import set_ivrs, set_legs
from ecounters.calls.record import Call, CallOwner
from ecounters.calls.texts import forget_texts, same
from ecounters.changelog.saved import SavedCall, SavedLeg


def saved_form(call: Call) -> tuple[Any, ...]:
    """The fields of a call that the changelog keeps, in the order of ``SavedCall``; without a ``reused_at`` of 0."""
    form = (
        call.last_ts, call.start, call.start_id, call.type, call.campaign, call.did, call.number, call.switch,
        call.end, call.end_id, call.status, call.ended_by, call.system_end, call.caller_class, call.redirects,
        _saved_legs(call.first_leg),
        call.holds, _saved_ivrs(call.last_ivr), call.dtmfs, call.silence, call.start_ids, call.last_start,
    )  # fmt: skip
    return (*form, call.reused_at) if call.reused_at else form


def _saved_legs(leg: Leg | None) -> list[tuple[Any, ...]] | None:
    """The saved forms of linked legs, the first leg first; None if there are none."""
    if leg is None:
        return None
    forms = [saved_leg(leg)]
    while (leg := leg.later) is not None:
        forms.append(saved_leg(leg))
    return forms


def _saved_ivrs(last: IvrLink | None) -> tuple[Any, ...] | None:
    """The values of linked IVR entries in one tuple, the earliest entry first; None if there are none."""
    if last is None:
        return None
    values: tuple[Any, ...] = (last.ts, last.id, last.left, last.ivr)
    while (last := last.earlier) is not None:
        entry = (last.ts, last.id, last.left, last.ivr)
        values = entry + values
    return values


def saved_leg(leg: Leg) -> tuple[Any, ...]:
    """The fields of a leg, in the order of ``SavedLeg``."""
    return leg.id, leg.retry, leg.ringing, leg.answered, leg.ended, leg.elsewhere


def restored_call(saved: SavedCall, call_id: str, user: CallOwner) -> Call:
    """The record that was saved, without flags, in no timer wheel and counted nowhere yet.

    Its type, campaign, DID and switch are interned, see ``calls.texts``. Raises ValueError for damaged IVR entries.
    """
    forget_texts()
    call = Call(call_id, user)
    (
        call.last_ts, call.start, call.start_id, call_type, campaign, did, call.number, switch,
        call.end, call.end_id, call.status, call.ended_by, call.system_end, call.caller_class, call.redirects,
        legs, call.holds, ivrs, call.dtmfs, call.silence, call.start_ids, call.last_start, call.reused_at,
    ) = saved  # fmt: skip
    call.type = same(call_type, call_type)
    call.campaign = same(campaign, campaign)
    call.did = same(did, did)
    call.switch = same(switch, switch)
    if legs is not None:
        set_legs(call, [restored_leg(leg) for leg in legs])
    if ivrs is not None:
        set_ivrs(call, restored_ivrs(ivrs))
    return call


def restored_ivrs(values: tuple[Any, ...]) -> list[IvrEntry]:
    """The IVR entries that were saved as these values. Raises ValueError if one is damaged."""
    return [_ivr_entry(values[begin : begin + 4]) for begin in range(0, len(values), 4)]


def _ivr_entry(values: tuple[Any, ...]) -> IvrEntry:
    """The entry that was saved as these values. Raises ValueError if it is damaged: no decoder has looked at them."""
    ts, event_id, left, ivr = values
    if not (isinstance(ts, int) and isinstance(event_id, str) and isinstance(left, bool) and isinstance(ivr, str)):
        raise ValueError("an IVR entry has values of other types")
    return ts, event_id, left, ivr


def restored_leg(saved: SavedLeg) -> Leg:
    """The leg that was saved."""
    leg_id, retry, ringing, answered, ended, elsewhere = saved
    return Leg(leg_id, retry, elsewhere, ringing, answered, ended)
