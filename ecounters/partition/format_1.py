"""Format 1: what restoring does with a changelog that an earlier release wrote, to make it one of format 2.

Three things were kept otherwise: holds and IVR entries said whether they are a begin (now: an end), the digits of all
DTMF inputs were kept (now: of short ones alone), and telephone numbers as they were spelled. And calls were counted by
other definitions. So each call that has a record is taken back from its cell as it was counted, and counted anew. What
was counted of calls without a record stays as it is.

Everything that the conversion changes becomes dirty, so that the first flush writes it in format 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ecounters.calls.join import shown_digits
from ecounters.calls.lists import SMALL_MAX, enlarge, ivr_entries, legs_of, set_ivrs
from ecounters.calls.record import Call
from ecounters.counters.contributions import contributions
from ecounters.events.numbers import number_of
from ecounters.partition.changes import Changes
from ecounters.partition.user import User


def convert_users(users: Iterable[User], changes: Changes, dtmf_digits: int) -> Iterator[None]:
    """Convert the cells and telephone numbers of all accounts. Yields after each slot of a cell and each number."""
    for user in users:
        for cell in user.spans.cells():
            changed = False
            for slot in list(cell.counts if cell.inputs is None else cell.inputs.counts):
                new_slot = _slot(slot, dtmf_digits)
                if new_slot != slot:
                    cell.rename(slot, new_slot)
                    changed = True
                yield
            if changed:
                user.spans.mark_dirty(cell)
                changes.add_user(user)
        for spelled, last_start in list(user.numbers.items()):
            number = number_of(spelled)
            if number != spelled:
                changes.add_user(user)
                del user.numbers[spelled]
                user.new_numbers[spelled] = None
                if number:
                    latest = max(last_start, user.numbers.get(number, 0))
                    user.numbers[number] = user.new_numbers[number] = latest
            yield


def convert_call(user: User, call: Call, changes: Changes, dtmf_digits: int) -> None:
    """Convert a call's record, and count the call by the definitions of today. Its account and cells are converted.

    Call this in place of ``User.restore_call``.
    """
    changed = False
    if call.holds is not None:
        call.holds = tuple(sorted((ts, event_id, not held) for ts, event_id, held in call.holds))
        changed = True
    entries = sorted((ts, event_id, not entered, ivr) for ts, event_id, entered, ivr in ivr_entries(call))
    if entries:
        set_ivrs(call, entries)
        changed = True
    if call.dtmfs is not None:
        call.dtmfs = {
            event_id: (ts, shown_digits(digits, dtmf_digits), valid, ivr)
            for event_id, (ts, digits, valid, ivr) in call.dtmfs.items()
        }
        changed = True
    if max(len(legs_of(call)), len(call.holds or ()), len(entries), len(call.dtmfs or ())) > SMALL_MAX:
        enlarge(call).uncounted.clear()  # the cell has the inputs
        changed = True
    call.number = number_of(call.number)
    user.restore_call(call)
    if call.cell is None:
        user.rebuild_contribution(call)
    if call.cell is not None:
        old_units, old_ring_ms, old_rings, old_amounts = contributions(call, call.ended, version=1)
        ring_ms, rings = call.ring_ms - old_ring_ms, call.rings - old_rings
        if old_units != call.units or old_amounts != call.amounts or ring_ms or rings:
            user.spans.change(call.cell, old_units, call.units, old_amounts, call.amounts, ring_ms, rings)
            changes.add_user(user)
    if changed:
        changes.touch(call)


def _slot(slot: str, dtmf_digits: int) -> str:
    counter, slash, digits = slot.partition("/")
    return f"{counter}/{shown_digits(digits, dtmf_digits)}" if slash and counter != "DTMFI" else slot
