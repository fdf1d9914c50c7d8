"""What the changelog has, as msgspec reads it: arrays with fields of known types. Not compiled.

The fields have types, so that the decoder refuses a damaged entry. It refuses one with more fields too: a further field
needs another ``entries.FORMAT``. What there are many of is a NamedTuple, because compiled code takes one apart several
times as fast as it reads the fields of a Struct.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from ecounters.calls.items import Dtmf, Hold
from ecounters.changelog.binding import Binding
from ecounters.changelog.holes import Holes


class SavedLeg(NamedTuple):
    """A leg. Format 1 does not have the last field."""

    id: str
    retry: int = 0
    ringing: int = 0
    answered: int = 0
    ended: int = 0
    elsewhere: bool = False


class SavedCall(NamedTuple):
    """A call. The last two fields are those that format 1 and older entries of format 2 do not have."""

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
    legs: tuple[SavedLeg, ...] | None
    holds: tuple[Hold, ...] | None
    ivrs: tuple[Any, ...] | None
    dtmfs: dict[str, Dtmf] | None
    silence: int
    start_ids: tuple[str, ...] | None = None
    last_start: int = 0


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
