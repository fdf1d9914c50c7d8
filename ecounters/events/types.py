"""The types of events: one msgspec class for each, by which msgspec decodes and checks events of the type.

A field without a default is required. Times are ms since the Unix epoch. The defaults "" and None mean "not given". The
docstring of a class is the description of its type in the documentation and in the AsyncAPI document.

To add a type: write its class, add the class to ``AnyEvent``, add new fields to ``ecounters.events.fields.FIELDS``, and
add to ``ecounters.calls.join`` a ``Join``: what the event does to a call. CONTRIBUTING.md has all steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

TEXT_MAX: Final = 128
"""The most characters of an id. Another text that a counter reads may be longer; it is cut to this length there."""
TS_MIN_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z, the earliest time. An earlier one is nearly always a number of seconds in place of ms."""
TS_MAX_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z, which is itself too late."""
RETRY_MAX: Final = 1000
"""The largest ``retry`` of a leg's event."""
STATUS_MAX: Final = 2**31 - 1
"""The largest status of a call's end. The smallest is -2**31: a status is a 32-bit integer."""
AMOUNT_MAX: Final = 10**15
"""The largest balance, and with a minus sign the smallest. A double, which most readers
of JSON use, holds every whole number up to 9 * 10**15."""

CallType = Literal["IBD", "OBD", "BRD", "QC", "CTC", "POOL", "MASK", "FLASH"]
CALL_TYPES: Final = get_args(CallType)
"""The documented types of calls, in their documented order."""

_Id = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
_Amount = Annotated[int, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)] | Annotated[float, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]


class Event(Struct, gc=False, rename="camel", tag_field="type", kw_only=True):
    """The fields of every event."""

    id: _Id
    ts: Annotated[int, Meta(ge=TS_MIN_MS, lt=TS_MAX_MS)]
    switch_id: _Id | None = None

    @property
    def type(self) -> str:
        """The name of the event's type, as "call.started"."""
        return str(self.__struct_config__.tag)


class CallEvent(Event, kw_only=True):
    """The fields of every event of a call."""

    user_id: _Id
    call_id: _Id


class Started(CallEvent, tag="call.started", kw_only=True):
    """The platform took up a call. ``number``: the customer's."""

    call_type: CallType
    # See ``campaigns``. msgspec takes an integer of 64 bits or text. A longer integer is read the careful way of parse,
    # which makes text.
    campaign_id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | str = 0
    did: str = ""
    number: str = ""


class LegEvent(CallEvent, kw_only=True):
    """The fields of every event of a leg. An event without a ``legId`` is of leg "1", for calls with a single leg."""

    leg_id: _Id = "1"
    retry: Annotated[int, Meta(ge=0, le=RETRY_MAX)] = 0


class Dialed(LegEvent, tag="leg.dialed", kw_only=True):
    """A leg to a called party was set up; retry > 0: a failover retry."""


class Ringing(LegEvent, tag="leg.ringing", kw_only=True):
    """The leg rings."""


class Answered(LegEvent, tag="leg.answered", kw_only=True):
    """The called party picked up."""


class LegEnded(LegEvent, tag="leg.ended", kw_only=True):
    """The leg is over; outcome "elsewhere": another leg of its ring group was answered, so no counter counts it."""

    outcome: str = ""


class IvrEvent(CallEvent, kw_only=True):
    """The fields of every event of an IVR flow."""

    ivr_id: _Id


class IvrEntered(IvrEvent, tag="ivr.entered", kw_only=True):
    """The caller is in an IVR flow."""


class IvrLeft(IvrEvent, tag="ivr.left", kw_only=True):
    """The caller has left an IVR flow."""


class DtmfReceived(CallEvent, tag="dtmf.received", kw_only=True):
    """The caller pressed something."""

    digits: Annotated[str, Meta(min_length=1)]
    valid: bool = True
    ivr_id: str = ""


class Held(CallEvent, tag="call.held", kw_only=True):
    """The call is on hold."""


class Resumed(CallEvent, tag="call.resumed", kw_only=True):
    """The hold is over."""


class Transferred(CallEvent, tag="call.transferred", kw_only=True):
    """The call was transferred."""


class Forwarded(CallEvent, tag="call.forwarded", kw_only=True):
    """The call was forwarded."""


class Heartbeat(CallEvent, tag="call.heartbeat", kw_only=True):
    """The call is still there."""


class Ended(CallEvent, tag="call.ended", kw_only=True):
    """The call is over, ended by caller, callee or system."""

    status: Annotated[int, Meta(ge=-STATUS_MAX - 1, le=STATUS_MAX)]
    ended_by: str = ""


class BalanceUpdated(Event, tag="balance.updated", kw_only=True):
    """The account's balance."""

    user_id: _Id
    balance: _Amount
    call_balance: _Amount | None = None


class AccountErased(Event, tag="account.erased", kw_only=True):
    """Everything that is kept of this user up to this event is forgotten; what comes later counts anew."""

    user_id: _Id


class SwitchSnapshot(Event, tag="switch.snapshot", kw_only=True):
    """Every live call of this user on this switch."""

    switch_id: _Id
    user_id: _Id
    call_ids: list[_Id]


class SwitchRestarted(Event, tag="switch.restarted", kw_only=True):
    """The switch lost all its calls; those of all users of the partition, if none is named."""

    switch_id: _Id
    user_id: _Id | None = None


AnyEvent = (
    Started | Dialed | Ringing | Answered | LegEnded | IvrEntered | IvrLeft | DtmfReceived | Held | Resumed
    | Transferred | Forwarded | Heartbeat | Ended | BalanceUpdated | AccountErased | SwitchSnapshot | SwitchRestarted
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event, as ``parse`` and the documents need it.

    name      as "call.started"
    cls       the class of its events
    required  JSON names of its required fields, without id, type and ts: these are required of every event
    optional  JSON names of its optional fields, without switchId: every event may have it
    """

    name: str
    cls: type[Event]
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """The description of the type for people: the docstring of its class on one line."""
        return " ".join((self.cls.__doc__ or "").split())


def _event_type(cls: type[Event]) -> EventType:
    own = [field for field in msgspec.structs.fields(cls) if field.encode_name not in ("id", "ts")]
    required = tuple(field.encode_name for field in own if field.required)
    optional = tuple(field.encode_name for field in own if not field.required and field.encode_name != "switchId")
    return EventType(str(cls.__struct_config__.tag), cls, required, optional)


TYPES: Final[dict[str, EventType]] = {row.name: row for row in map(_event_type, get_args(AnyEvent))}
"""Name of a type -> the type, in the order of AnyEvent."""


def attribute(field: str) -> str:
    """The attribute of an event that holds a JSON field: "callType" -> "call_type"."""
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), field)
