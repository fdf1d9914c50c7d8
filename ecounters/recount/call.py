"""The record that the recount keeps of one call: its events, and what follows from them about its end.

Each function computes its result anew from the list of the call's events, and is one definition of the specification.
Two facts depend on the order of the log, so ``Recount`` sets them: ``known`` and ``system_end``.

Times are ms since the Unix epoch. ``clock`` is the watermark, or what ``Recount.clock_at`` gives: the watermark plus
the wall time since the last accepted record arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ecounters.recount.parse import Event

MINUTE = 60_000
HOUR = 60 * MINUTE
WINDOW = 15 * MINUTE

REAPED, RESTARTED, SNAPSHOT = -1, -2, -3
"""The statuses of ends without a call.ended: by max_call of silence, by switch.restarted, by switch.snapshot."""


@dataclass(frozen=True)
class Limits:
    """The time limits of the specification, in ms.

    linger                 an event that is this far behind the watermark is late if its call has no record; a record
                           with a call.started and a call.ended is kept for this long after the later of the two
    max_call               silence after which a call counts as ended (REAPED), and after which a record without a
                           call.started is dropped
    suspect_after          silence after which a live call is suspected to have ended
    clock_ahead            an event is refused if its ts is later than Kafka's timestamp by more than this
    repeat_within          a call is a repeat if the last start with its number is at most this far from its own
    keep_after_system_end  how long a record is kept after an end that a switch or silence gave
    """

    linger: int = 15 * MINUTE
    max_call: int = 4 * HOUR
    suspect_after: int = 2 * HOUR
    clock_ahead: int = 5 * MINUTE
    repeat_within: int = 24 * HOUR
    keep_after_system_end: int = 24 * HOUR

    @property
    def remember_number(self) -> int:
        """How long behind the watermark the start of a number is remembered.

        It is repeat_within plus max_call: a call's record waits for its call.started for max_call of silence, and that
        start may still be a repeat.
        """
        return self.repeat_within + self.max_call


@dataclass
class Call:
    """The events of a call, each one once, and two facts that depend on the order of the log: Recount sets them."""

    id: str
    events: list[Event] = field(default_factory=list)
    known: str = ""
    """ "repeatCall", "freshCall" or, for a start without a number, "neither"; "" until the first start is read."""
    system_end: tuple[int, int] | None = None
    """(ts, status) of the end that a switch.restarted or switch.snapshot gave; None if none did."""


def of_types(call: Call, *types: str) -> list[Event]:
    """The call's events of these types, sorted by (ts, id)."""
    return sorted((e for e in call.events if e["type"] in types), key=lambda e: (e["ts"], e["id"]))


def start_of(call: Call) -> Event | None:
    """The call.started with the smallest (ts, id); None if the call has none."""
    return next(iter(of_types(call, "call.started")), None)


def real_end(call: Call) -> Event | None:
    """The call.ended with the smallest (ts, id); None if the call has none."""
    return next(iter(of_types(call, "call.ended")), None)


def last_of(call: Call) -> int:
    """The largest ts of the call's events."""
    return int(max(event["ts"] for event in call.events))


def end_of(call: Call, clock: int, limits: Limits) -> tuple[int, int] | None:
    """(ts, status) of the call's end; None while there is none.

    A call.ended comes first, then the end that a switch gave. Without both, a call that has been silent for max_call at
    ``clock`` ended with its last event.
    """
    real = real_end(call)
    if real is not None:
        return real["ts"], real["status"]
    if call.system_end is not None:
        return call.system_end
    last = last_of(call)
    return (last, REAPED) if clock - last >= limits.max_call else None


def lives(call: Call, clock: int, limits: Limits) -> bool:
    """Whether the call has started and has no end."""
    return start_of(call) is not None and end_of(call, clock, limits) is None


def is_suspected(call: Call, clock: int, limits: Limits) -> bool:
    """Whether the call lives and has been silent for suspect_after."""
    return lives(call, clock, limits) and clock - last_of(call) >= limits.suspect_after


def drop_time(call: Call, limits: Limits) -> int:
    """The watermark from which on the record of the call is dropped."""
    start, end = start_of(call), real_end(call)
    if start is None:
        return last_of(call) + limits.max_call
    if end is not None:
        return int(max(start["ts"], end["ts"])) + limits.linger
    if call.system_end is not None:
        return call.system_end[0] + limits.keep_after_system_end
    return last_of(call) + limits.max_call + limits.keep_after_system_end
