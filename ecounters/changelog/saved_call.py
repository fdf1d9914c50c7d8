"""The saved form of a call: an array of the fields of ``Call`` that the changelog keeps.

``saved_form`` writes the array and ``SavedCall`` reads it. Both must list the same fields in the same order. A change
of the order or of the fields needs another ``entries.FORMAT``.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ecounters.calls.items import Dtmf, Hold, Leg
from ecounters.calls.record import Call, CallOwner
from ecounters.calls.texts import forget_texts, same


class SavedCall(Struct, array_like=True, gc=False):
    """A decoded array of ``saved_form``. The fields have types, so that the decoder refuses a damaged entry."""

    last_ts: int
    start: int
    start_id: str
    type: str
    campaign: str
    did: str
    number: str
    switch: str
    end: int
    end_id: str
    status: int
    ended_by: str
    system_end: tuple[int, int] | None
    caller_class: int
    redirects: int
    legs: tuple[Leg, ...] | None
    holds: tuple[Hold, ...] | None
    ivrs: tuple[Any, ...] | None
    dtmfs: dict[str, Dtmf] | None
    silence: int
    start_ids: tuple[str, ...] | None = None
    last_start: int = 0
    """The last two fields are those that format 1 and older entries of format 2 do not have."""

    def call(self, call_id: str, user: CallOwner) -> Call:
        """The record that was saved, without flags, in no timer wheel and counted nowhere yet.

        Its type, campaign, DID and switch are interned, see ``calls.texts``. The arguments of ``Call`` are positional,
        because that is faster: they must be in the order of its fields.
        """
        forget_texts()
        call_type, campaign, did, switch = self.type, self.campaign, self.did, self.switch
        return Call(
            call_id, user, self.last_ts, 0, self.caller_class, self.silence, 0, self.legs,
            self.start, self.start_id, same(call_type, call_type), same(campaign, campaign), same(did, did),
            self.number, same(switch, switch), self.end, self.end_id, self.status, self.ended_by, self.system_end,
            self.redirects, self.holds, self.ivrs, self.dtmfs, self.start_ids, self.last_start,
        )  # fmt: skip


def saved_form(call: Call) -> tuple[Any, ...]:
    """The fields of a call that the changelog keeps, in the order of ``SavedCall``."""
    return (
        call.last_ts, call.start, call.start_id, call.type, call.campaign, call.did, call.number, call.switch,
        call.end, call.end_id, call.status, call.ended_by, call.system_end, call.caller_class, call.redirects,
        call.legs, call.holds, call.ivrs, call.dtmfs, call.silence, call.start_ids, call.last_start,
    )  # fmt: skip
