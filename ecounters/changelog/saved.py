"""What the changelog has, as msgspec reads it: arrays with fields of known types. Not compiled.

The fields have types, so that the decoder refuses a damaged entry. It refuses one with more fields too: a further field
needs another ``entries.FORMAT``. What there are many of is a NamedTuple, because compiled code takes one apart several
times as fast as it reads the fields of a Struct.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct

from ecounters.calls.items import Dtmf, Hold
from ecounters.changelog.binding import Binding
from ecounters.changelog.holes import Holes

_U8 = Annotated[int, Meta(ge=0, le=255)]
_I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""What the fields of ``Call`` and ``Leg`` can hold in compiled code. The decoder refuses other values in each build."""


class SavedLeg(NamedTuple):
    """A leg. Format 1 does not have the last field."""

    id: str
    retry: _I32 = 0
    ringing: int = 0
    answered: int = 0
    ended: int = 0
    elsewhere: bool = False


class SavedCall(NamedTuple):
    """A call. The last three fields are those that format 1 and older entries of format 2 do not have.

    ``reused_at`` is written only where it is not 0, which is seldom. So nearly all entries are what they were before
    this field; a version from before refuses the others, as they have one field too many.
    """

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
    status: _I32
    ended_by: str
    system_end: tuple[int, int] | None
    caller_class: _U8
    redirects: _U8
    legs: tuple[SavedLeg, ...] | None
    holds: tuple[Hold, ...] | None
    ivrs: tuple[Any, ...] | None
    dtmfs: dict[str, Dtmf] | None
    silence: _U8
    start_ids: tuple[str, ...] | None = None
    last_start: int = 0
    reused_at: int = 0


class Position(Struct, array_like=True, frozen=True):
    """How much of the events topic the entries of a changelog hold. Times are ms since the Unix epoch.

    ``format``: ``entries.FORMAT`` of the writer. ``position``: the next offset to apply; all records below it are in
    the entries. ``watermark``: the largest ``ts`` of the accepted events. ``arrival``: Kafka's timestamp of the last of
    them. ``binding``: the topic that the position counts in; None if a release wrote it that did not bind states yet.
    ``holes``: the times whose events Kafka deleted before they were counted.
    """

    format: int
    position: int
    watermark: int
    arrival: int
    binding: Binding | None = None
    holes: Holes = ()
