"""The record that the recount keeps of one call: its events, and what follows from them about its end.

Each function computes its result anew from the call's events, and is one definition of the specification. Four facts
depend on the order of the log, so ``Recount`` sets them: ``known``, ``system_end``, ``next_call``, and what snapshots
add to ``heard``.

Times are ms since the Unix epoch. ``clock`` is the watermark, or what ``Recount.clock_at`` gives: the watermark plus
the wall time since the last accepted record arrived.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from dataclasses import dataclass, field

from ecounters.recount.parse import Event

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 15 * MINUTE

REAPED, RESTARTED, SNAPSHOT = -1, -2, -3
"""The statuses of ends without a call.ended: by max_call of silence, by switch.restarted, by switch.snapshot."""


@dataclass(frozen=True)
class Limits:
    """The limits of the specification. Times are in ms.

    linger                 an event that is this far behind the watermark is late if its call has no record; a record
                           with a call.started and a call.ended is kept for this long after the later of the two
    max_call               silence after which a call counts as ended (REAPED), and after which a record without a
                           call.started is dropped
    suspect_after          silence after which a live call is suspected to have ended
    clock_ahead            an event is refused if its ts is later than Kafka's timestamp by more than this
    repeat_within          a call is a repeat if the last start with its number is at most this far from its own
    keep_after_system_end  how long a record is kept after an end that a switch or silence gave
    keep_days              how long balances are kept of an account that counts no later calls
    dtmf_digits            a DTMF input of more characters than this counts under "<n> digits"
    starts                 how many call.started of different ids one call may have
    legs                   how many legs one call may have
    inputs                 how many DTMF inputs one call may have
    holds                  how many call.held and call.resumed one call may have, together
    ivr_entries            how many ivr.entered and ivr.left one call may have, together
    """

    linger: int = 15 * MINUTE
    max_call: int = 4 * HOUR
    suspect_after: int = 2 * HOUR
    clock_ahead: int = 5 * MINUTE
    repeat_within: int = 24 * HOUR
    keep_after_system_end: int = 24 * HOUR
    keep_days: int = 400 * DAY
    dtmf_digits: int = 4
    starts: int = 200
    legs: int = 200
    inputs: int = 1000
    holds: int = 1000
    ivr_entries: int = 1000

    @property
    def remember_number(self) -> int:
        """How long behind the watermark the start of a number is remembered.

        It is repeat_within plus max_call: a call's record waits for its call.started for max_call of silence, and that
        start may still be a repeat.
        """
        return self.repeat_within + self.max_call


@dataclass
class Call:
    """The events of a call, each one once, and four facts that depend on the order of the log: Recount sets them."""

    id: str
    events: dict[str, list[Event]] = field(default_factory=dict)
    """Type -> the events of the type, in the order of ``order``. ``add`` fills it."""
    parts: dict[str, set[Hashable]] = field(default_factory=dict)
    """"starts", "legs", "inputs", "holds" or "ivr_entries" -> what the call has of them, as ``part_of`` names them."""
    heard: int = 0
    """The largest ts of the call's events and of the snapshots that name the call."""
    known: str = ""
    """"repeatCall", "freshCall" or, for a start without a number, "neither"; "" until the first start is read."""
    system_end: tuple[int, int] | None = None
    """(ts, status) of the end that a switch.restarted or switch.snapshot gave last; None if none did. Later events may
    have lifted the end: see ``standing_end``."""
    next_call: int | None = None
    """When another call began under the id of this one: the smallest ts of the call.started that were refused because
    they came after this call's end. None if there was none."""
    _seen: set[Hashable] = field(default_factory=set)

    def add(self, event: Event) -> None:
        """Add an event. One that is there already changes nothing.

        Two unequal events with one id are both kept: no switch sends such events, and the specification does not say
        which is right. (``inputs_of`` counts one DTMF input for each id.)
        """
        self.heard = max(self.heard, event["ts"])
        fields = frozenset(event.items())
        if fields in self._seen:
            return
        self._seen.add(fields)
        insort(self.events.setdefault(event["type"], []), event, key=order)
        part = part_of(event)
        if part is not None:
            self.parts.setdefault(part[0], set()).add(part[1])


def order(event: Event) -> tuple[int, str, str, str]:
    """By what the events of a call are sorted: ts, id, name of the type, IVR."""
    return event["ts"], event["id"], event["type"], event.get("ivrId", "")


def of_types(call: Call, *types: str) -> list[Event]:
    """The call's events of these types, sorted by ``order``."""
    return sorted((event for kind in types for event in call.events.get(kind, ())), key=order)


# ------------------------------------------------------------------------------------------------------ ends


def _first(call: Call, kind: str) -> Event | None:
    """The call's event of a type with the smallest (ts, id); None if the call has none."""
    return next(iter(call.events.get(kind, ())), None)


def start_of(call: Call) -> Event | None:
    """The call.started with the smallest (ts, id); None if the call has none."""
    return _first(call, "call.started")


def real_end(call: Call) -> Event | None:
    """The call.ended with the smallest (ts, id); None if the call has none."""
    return _first(call, "call.ended")


def standing_end(call: Call) -> tuple[int, int] | None:
    """(ts, status) of the end that a switch gave, while nothing was heard of the call after it; None otherwise."""
    return call.system_end if call.system_end is not None and call.heard <= call.system_end[0] else None


def end_of(call: Call, clock: int, limits: Limits) -> tuple[int, int] | None:
    """(ts, status) of the call's end; None while there is none.

    A call.ended comes first, then the end that a switch gave, while it stands. Without both, a call that has been
    silent for max_call at ``clock`` ended when it was last heard of.
    """
    real, standing = real_end(call), standing_end(call)
    if real is not None:
        return real["ts"], real["status"]
    if standing is not None:
        return standing
    return (call.heard, REAPED) if clock - call.heard >= limits.max_call else None


def lives(call: Call, clock: int, limits: Limits) -> bool:
    """Whether the call has started and has no end."""
    return start_of(call) is not None and end_of(call, clock, limits) is None


def is_suspected(call: Call, clock: int, limits: Limits) -> bool:
    """Whether the call lives and has been silent for suspect_after."""
    return lives(call, clock, limits) and clock - call.heard >= limits.suspect_after


def drop_time(call: Call, limits: Limits) -> int:
    """The watermark from which on the record of the call is dropped: not before each of its starts would be late."""
    start, end, standing = start_of(call), real_end(call), standing_end(call)
    if start is None:
        return call.heard + limits.max_call
    if end is not None:
        return int(max(end["ts"], *(each["ts"] for each in of_types(call, "call.started")))) + limits.linger
    if standing is not None:
        return standing[0] + limits.keep_after_system_end
    return call.heard + limits.max_call + limits.keep_after_system_end


def is_ended_by(call: Call, event: Event, watermark: int, limits: Limits) -> bool:
    """Whether a switch.restarted, or a switch.snapshot that does not name the call, ends it.

    It does so if the call is of its switch and lives at ``watermark``: the one after the event. Whether the end counts
    says ``standing_end``: not for a call that started after the event, or of which anything else was heard after it.
    """
    start = start_of(call)
    return start is not None and start.get("switchId") == event["switchId"] and lives(call, watermark, limits)


# --------------------------------------------------------------------------------------- events that are refused


def reuses_id(call: Call, event: Event, watermark: int, limits: Limits) -> bool:
    """Whether the event starts another call under the id of one that has ended.

    It is a call.started that the call does not have yet, by its id, and with a ts after the call's end. ``watermark``
    is the one before the event; the event's own ts may be what shows that the call has been silent for max_call.
    """
    if event["type"] != "call.started" or start_of(call) is None or _is_own_start(call, event):
        return False
    end = end_of(call, max(watermark, event["ts"]), limits)
    return end is not None and event["ts"] > end[0]


def is_of_next_call(call: Call, event: Event) -> bool:
    """Whether the event belongs to a further call under this id, which has begun by then: see ``Call.next_call``.

    For a call.started that the call has already it is False: that is told apart by its id. A snapshot that names the id
    names the further call too, from that time on.
    """
    return call.next_call is not None and event["ts"] >= call.next_call and not _is_own_start(call, event)


def _is_own_start(call: Call, event: Event) -> bool:
    """Whether the event is a call.started with the id of one that the call has."""
    starts = of_types(call, "call.started") if event["type"] == "call.started" else []
    return any(start["id"] == event["id"] for start in starts)


def part_of(event: Event) -> tuple[str, Hashable] | None:
    """What an event adds to its call, of which a call may have a limited number: (name of the limit, which one).

    Legs are told apart by legId, starts and DTMF inputs by id, the events of holds by (ts, id, type), those of IVRs by
    these and the ivrId. None for all other events.
    """
    kind = event["type"]
    if kind.startswith("leg."):
        return "legs", event.get("legId", "1")
    if kind == "call.started":
        return "starts", event["id"]
    if kind == "dtmf.received":
        return "inputs", event["id"]
    if kind in ("call.held", "call.resumed"):
        return "holds", (event["ts"], event["id"], kind)
    if kind in ("ivr.entered", "ivr.left"):
        return "ivr_entries", (event["ts"], event["id"], kind, event["ivrId"])
    return None


def is_one_too_many(call: Call, event: Event, limits: Limits) -> bool:
    """Whether the event would add one more start, leg, input, hold or IVR entry than a call may have."""
    part = part_of(event)
    if part is None:
        return False
    name, which = part
    most = {
        "starts": limits.starts, "legs": limits.legs,
        "inputs": limits.inputs, "holds": limits.holds, "ivr_entries": limits.ivr_entries,
    }  # fmt: skip
    has = call.parts.get(name, set[Hashable]())
    return which not in has and len(has) >= most[name]
