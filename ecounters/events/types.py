"""The types of events: one class for each, whose fields are what such an event may hold.

A field without a default is required. Times are ms since the Unix epoch; ``""`` is "not given". Adding a type is one
class here, its line in ``TYPES``, and what it does to a call in ``ecounters.calls.join.JOIN``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

TEXT_MAX: Final = 128
DIGITS_MAX: Final = 64
TS_MIN_MS: Final = 946_684_800_000
"""2000-01-01. Times before it are nearly always seconds taken for milliseconds."""
TS_MAX_MS: Final = 4_102_444_800_000
"""2100-01-01, excluded."""
RETRY_MAX: Final = 1000
STATUS_MAX: Final = 2**31 - 1
AMOUNT_MAX: Final = 10**15
"""Of a balance: what a JSON number holds without loss, with its hundredths."""

CallType = Literal["IBD", "OBD", "BRD", "QC", "CTC", "POOL", "MASK", "FLASH"]
CALL_TYPES: Final = get_args(CallType)

_Id = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
_Text = Annotated[str, Meta(max_length=TEXT_MAX)]
_Amount = Annotated[int, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)] | Annotated[float, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]


def campaign_of(text: str) -> str:
    """The campaign that a text names: a whole number has one form, and 0 is none."""
    whole = str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else text
    return "" if whole == "0" else whole


class Event(Struct, gc=False, rename="camel", tag_field="type", kw_only=True):
    """What every event has."""

    id: _Id
    ts: Annotated[int, Meta(ge=TS_MIN_MS, lt=TS_MAX_MS)]
    switch_id: _Id | None = None

    @property
    def type(self) -> str:
        """The type, as it is spelled."""
        return str(self.__struct_config__.tag)


class CallEvent(Event, kw_only=True):
    """What every event of a call has."""

    user_id: _Id
    call_id: _Id


class Started(CallEvent, tag="call.started", kw_only=True):
    """The platform took up a call. ``number``: the customer's."""

    call_type: CallType
    # What fits into 64 bits, or what is no number.
    campaign_id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | _Text = 0
    did: _Text = ""
    number: _Text = ""

    @property
    def campaign(self) -> str:
        """The campaign as text; "" for none (0, "0", "" and absent)."""
        given = self.campaign_id
        if type(given) is int:
            return str(given) if given else ""
        return campaign_of(str(given))


class LegEvent(CallEvent, kw_only=True):
    """What every event of a leg has. A simple switch has only one, and does not name it."""

    leg_id: _Id = "1"
    retry: Annotated[int, Meta(ge=0, le=RETRY_MAX)] = 0


class Dialed(LegEvent, tag="leg.dialed", kw_only=True):
    """A leg to a called party was set up; retry > 0: a failover retry."""

    node_id: _Text = ""
    agent_id: _Text = ""


class Ringing(LegEvent, tag="leg.ringing", kw_only=True):
    """The leg rings."""


class Answered(LegEvent, tag="leg.answered", kw_only=True):
    """The called party picked up."""


class LegEnded(LegEvent, tag="leg.ended", kw_only=True):
    """The leg is over."""


class IvrEvent(CallEvent, kw_only=True):
    """What every event of an IVR flow has."""

    ivr_id: _Id


class IvrEntered(IvrEvent, tag="ivr.entered", kw_only=True):
    """The caller is in an IVR flow."""


class IvrLeft(IvrEvent, tag="ivr.left", kw_only=True):
    """The caller has left an IVR flow."""


class DtmfReceived(CallEvent, tag="dtmf.received", kw_only=True):
    """The caller pressed something."""

    digits: Annotated[str, Meta(min_length=1, max_length=DIGITS_MAX)]
    valid: bool = True
    ivr_id: _Text = ""


class Held(CallEvent, tag="call.held", kw_only=True):
    """The call is on hold."""


class Resumed(CallEvent, tag="call.resumed", kw_only=True):
    """The hold is over."""


class Transferred(CallEvent, tag="call.transferred", kw_only=True):
    """The call was transferred."""

    to: _Text = ""


class Forwarded(CallEvent, tag="call.forwarded", kw_only=True):
    """The call was forwarded."""

    to: _Text = ""


class Heartbeat(CallEvent, tag="call.heartbeat", kw_only=True):
    """The call is still there."""


class Ended(CallEvent, tag="call.ended", kw_only=True):
    """The call is over, ended by caller, callee or system."""

    status: Annotated[int, Meta(ge=-STATUS_MAX - 1, le=STATUS_MAX)]
    ended_by: _Text = ""
    cause: _Text = ""


class BalanceUpdated(Event, tag="balance.updated", kw_only=True):
    """The account's balance."""

    user_id: _Id
    balance: _Amount
    call_balance: _Amount | None = None


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
    | Transferred | Forwarded | Heartbeat | Ended | BalanceUpdated | SwitchSnapshot | SwitchRestarted
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventType:
    """What a type of event has beside id, type, ts and switchId, by the names in JSON: ``needs`` and ``may`` have."""

    name: str
    cls: type[Event]
    needs: tuple[str, ...]
    may: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What it says, for people."""
        return " ".join((self.cls.__doc__ or "").split())


def _event_type(cls: type[Event]) -> EventType:
    own = [field for field in msgspec.structs.fields(cls) if field.encode_name not in ("id", "ts")]
    needs = tuple(field.encode_name for field in own if field.required)
    may = tuple(f.encode_name for f in own if not f.required and f.encode_name != "switchId")
    return EventType(str(cls.__struct_config__.tag), cls, needs, may)


TYPES: Final[dict[str, EventType]] = {row.name: row for row in map(_event_type, get_args(AnyEvent))}
"""Every type of event, by its name."""


def attribute(field: str) -> str:
    """The Python name of a field of JSON."""
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), field)
