"""The recount of one call: what it counts, computed from the list of its events each time anew.

Every function here is a definition of the specification, read out loud. Times are ms since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ecounters.recount.parse import Event

MINUTE = 60_000
HOUR = 60 * MINUTE
WINDOW = 15 * MINUTE

REAPED, RESTARTED, SNAPSHOT = -1, -2, -3


@dataclass(frozen=True)
class Limits:
    """The times of the specification."""

    linger: int = 15 * MINUTE
    max_call: int = 4 * HOUR
    suspect_after: int = 2 * HOUR
    clock_ahead: int = 5 * MINUTE
    repeat_within: int = 24 * HOUR
    keep_after_system_end: int = 24 * HOUR

    @property
    def remember_number(self) -> int:
        """A start may come as late as its call may wait for it, and still be a repeat."""
        return self.repeat_within + self.max_call


@dataclass
class Call:
    """All events of a call, and the two things that the log's order settled."""

    id: str
    events: list[Event] = field(default_factory=list)
    known: str = ""
    """ "repeatCall", "freshCall" or "neither"; "" while no start was seen."""
    system_end: tuple[int, int] | None = None
    """(ts, status) of the end that a switch.restarted or switch.snapshot gave."""


def _of(call: Call, *types: str) -> list[Event]:
    """The events of those types by (ts, id)."""
    return sorted((e for e in call.events if e["type"] in types), key=lambda e: (e["ts"], e["id"]))


def start_of(call: Call) -> Event | None:
    """The call.started with the smallest (ts, id)."""
    return next(iter(_of(call, "call.started")), None)


def real_end(call: Call) -> Event | None:
    """The call.ended with the smallest (ts, id)."""
    return next(iter(_of(call, "call.ended")), None)


def last_of(call: Call) -> int:
    """When its last event was, by its own time."""
    return int(max(event["ts"] for event in call.events))


def end_of(call: Call, clock: int, limits: Limits) -> tuple[int, int] | None:
    """(when, status) of the end: the real one, else the one that a switch gave, else of its silence; None: it lives."""
    real = real_end(call)
    if real is not None:
        return real["ts"], real["status"]
    if call.system_end is not None:
        return call.system_end
    last = last_of(call)
    return (last, REAPED) if clock - last >= limits.max_call else None


def lives(call: Call, clock: int, limits: Limits) -> bool:
    """Started and not ended."""
    return start_of(call) is not None and end_of(call, clock, limits) is None


def is_suspected(call: Call, clock: int, limits: Limits) -> bool:
    """Lives, and nothing was heard of it for long."""
    return lives(call, clock, limits) and clock - last_of(call) >= limits.suspect_after


def drop_time(call: Call, limits: Limits) -> int:
    """The watermark at which the record is dropped."""
    start, end = start_of(call), real_end(call)
    if start is None:
        return last_of(call) + limits.max_call
    if end is not None:
        return int(max(start["ts"], end["ts"])) + limits.linger
    if call.system_end is not None:
        return call.system_end[0] + limits.keep_after_system_end
    return last_of(call) + limits.max_call + limits.keep_after_system_end


# ---------------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class Leg:
    """A leg's first times of each kind, and what became of it: answered, missed, ghost or open."""

    retry: int
    ringing: int | None
    answered: int | None
    over: int | None
    """When it ended or, if nobody says, when its call did."""

    @property
    def outcome(self) -> str:
        """What became of it."""
        if self.answered is not None:
            return "answered"
        if self.over is None:
            return "open"
        return "ghost" if self.ringing is None else "missed"

    @property
    def ring_ms(self) -> int | None:
        """How long it rang, once that is known."""
        until = self.over if self.answered is None else self.answered
        return None if self.ringing is None or until is None else max(0, until - self.ringing)


def legs_of(call: Call, ended: int | None) -> list[Leg]:
    """The call's legs; one without a name is leg "1"."""
    events = _of(call, "leg.dialed", "leg.ringing", "leg.answered", "leg.ended")
    found = []
    for name in {e.get("legId", "1") for e in events}:
        own = [e for e in events if e.get("legId", "1") == name]
        first = {e["type"]: e["ts"] for e in reversed(own)}
        retry = max(e.get("retry", 0) for e in own)
        over = first.get("leg.ended", ended)
        found.append(Leg(retry, first.get("leg.ringing"), first.get("leg.answered"), over))
    return found


def holds_of(call: Call, ended: int | None) -> list[int]:
    """The lengths of the closed intervals on hold."""
    closed: list[tuple[int, int]] = []
    opened: int | None = None
    for event in _of(call, "call.held", "call.resumed"):
        if event["type"] == "call.held":
            opened = event["ts"] if opened is None else opened
        elif opened is not None:
            closed.append((opened, event["ts"]))
            opened = None
    if ended is None:
        return [end - begin for begin, end in closed]
    if opened is not None:
        closed.append((opened, ended))
    return [min(end, ended) - begin for begin, end in closed if begin <= ended]


def current_ivr(call: Call) -> str:
    """The IVR entered last and not left since; "" for none."""
    left: set[str] = set()
    for event in reversed(_of(call, "ivr.entered", "ivr.left")):
        if event["type"] == "ivr.left":
            left.add(event["ivrId"])
        elif event["ivrId"] not in left:
            return str(event["ivrId"])
    return ""


def inputs_of(call: Call) -> list[tuple[str, bool, str]]:
    """(digits, valid, IVR or "") of each DTMF input: one for each id, whatever comes under that id."""
    by_id: dict[str, tuple[int, str, bool, str]] = {}
    for event in _of(call, "dtmf.received"):
        entry = event["ts"], event["digits"], event.get("valid", True), event.get("ivrId", "")
        by_id[event["id"]] = min(entry, by_id.get(event["id"], entry))
    return [entry[1:] for entry in by_id.values()]


# ---------------------------------------------------------------------------------------------------- counts

Counts = Iterator[tuple[str, int]]
"""(counter, amount) or, for a map, ("COUNTER/entry", amount). ``rings``, ``holds`` and ``talks`` are divisors."""


def live_counts(call: Call, clock: int, limits: Limits) -> Counts:
    """What the call adds to the gauges."""
    start = start_of(call)
    if start is None or not lives(call, clock, limits):
        return
    yield "LCT/" + start["callType"], 1
    for key, name in (("RCMPID", start.get("campaignId")), ("LIVR", current_ivr(call)), ("LDID", start.get("did"))):
        if name:
            yield f"{key}/{name}", 1


def counts(call: Call, clock: int, limits: Limits) -> Counts:
    """What the call adds to the counters of the window in which it started; nothing while it waits for its start."""
    start = start_of(call)
    if start is None:
        return
    end = end_of(call, clock, limits)
    yield "TC", 1
    yield "CT/" + start["callType"], 1
    if start.get("campaignId"):
        yield "CMPID/" + start["campaignId"], 1
    if start.get("did"):
        yield "DID/" + start["did"], 1
    if end is not None:
        yield f"CST/{end[1]}", 1
    if call.known in ("repeatCall", "freshCall"):
        yield call.known, 1
    if _of(call, "call.transferred"):
        yield "TRSC", 1
    if _of(call, "call.forwarded"):
        yield "FWC", 1
    for digits, valid, ivr in inputs_of(call):
        yield "DTMF/" + digits, 1
        yield ("DTMFV/" if valid else "DTMFINV/") + digits, 1
        if ivr:
            yield "DTMFI/" + ivr, 1
    ended = end[0] if end is not None else None
    yield from _outcome(call, ended)
    yield from _leg_counts(legs_of(call, ended))


def _outcome(call: Call, ended: int | None) -> Counts:
    """Answered, missed, ghost or (while it lives) none of these; and the times on hold and of talk."""
    holds, legs, real = holds_of(call, ended), legs_of(call, ended), real_end(call)
    if holds:
        yield "holds", 1
        yield "holdTime", sum(holds)
    answers = [leg.answered for leg in legs if leg.answered is not None]
    rings = [leg.ringing for leg in legs if leg.ringing is not None]
    if answers:
        yield "CNC", 1
        if ended is not None:
            yield "talks", 1
            yield "actualTT", max(0, ended - min(answers) - sum(holds))
    elif ended is not None:
        yield "MC" if rings or _of(call, "ivr.entered") else "GHC", 1
        # Also where the end is before the first ring, as with clocks that differ.
        if real is not None and real.get("endedBy") == "caller" and rings and real["ts"] - min(rings) < 5_000:
            yield "CHSR", 1


def _leg_counts(legs: list[Leg]) -> Counts:
    """The classes of the call by its legs, by its retry legs alone, and how many these are."""
    rang = [leg.ring_ms for leg in legs if leg.ring_ms is not None]
    if rang:
        yield "rings", len(rang)
        yield "ringTime", sum(rang)
    for prefix, looked_at in (("", legs), ("FR_", [leg for leg in legs if leg.retry > 0])):
        outcomes = [leg.outcome for leg in looked_at if leg.outcome != "open"]
        if not outcomes:
            continue
        parts = set(outcomes) - {"ghost"}
        both = "PM" if len(parts) == 2 else "CA" if "answered" in parts else "CM" if "missed" in parts else "GH_UC"
        yield prefix + "UC", 1
        yield prefix + both, 1
        if prefix:
            yield "FR_UC_N", len(outcomes)
            if both != "GH_UC":
                yield f"FR_{both}_N", len(outcomes)
            if "ghost" in outcomes:
                yield "FR_GH_N", outcomes.count("ghost")
