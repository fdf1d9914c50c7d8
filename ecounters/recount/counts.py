"""What one call counts: its legs, holds, IVRs and DTMF inputs, and the amounts that it adds to the counters.

Each function computes its result anew from the call's events, and is one definition of the specification. Times are ms
since the Unix epoch; ``clock`` is as in ``call``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ecounters.recount.call import Call, Limits, end_of, lives, of_types, real_end, start_of
from ecounters.recount.parse import Event

CHSR_MS = 5_000
"""A caller that hangs up less than this after the first ring counts in CHSR."""

# ---------------------------------------------------------------------------------- legs, holds, IVRs, inputs


@dataclass(frozen=True)
class Leg:
    """A leg: the largest retry of its events, and the earliest ts of its leg.ringing and leg.answered (None: none)."""

    retry: int
    ringing: int | None
    answered: int | None
    """None also if the leg was answered after the real end of its call: that is no answer."""
    over: int | None
    """The earliest ts of its leg.ended or, without one, the end of the call; None while both are missing."""

    @property
    def leg_class(self) -> str:
        """ "answered" from its answer on. Without an answer: "open" until it is over, then "missed" if it rang, else
        "ghost"."""
        if self.answered is not None:
            return "answered"
        if self.over is None:
            return "open"
        return "ghost" if self.ringing is None else "missed"

    @property
    def ring_ms(self) -> int | None:
        """The ms from ringing to the answer or, without an answer, to the leg's end; at least 0.

        None if the leg has not rung, or still rings.
        """
        until = self.over if self.answered is None else self.answered
        return None if self.ringing is None or until is None else max(0, until - self.ringing)


def legs_of(call: Call, ended: int | None) -> list[Leg]:
    """The legs of the call that count. ``ended``: ts of the call's end, or None. No legId means leg "1".

    A leg with a leg.ended whose outcome is "elsewhere" does not count: another leg of its ring group was answered.
    """
    events: dict[str, list[Event]] = {}
    for event in of_types(call, "leg.dialed", "leg.ringing", "leg.answered", "leg.ended"):
        events.setdefault(event.get("legId", "1"), []).append(event)
    real = real_end(call)
    legs = []
    for own in events.values():
        if any(event.get("outcome") == "elsewhere" for event in own):
            continue
        first = {event["type"]: event["ts"] for event in reversed(own)}
        answered = first.get("leg.answered")
        if answered is not None and real is not None and answered > real["ts"]:
            answered = None
        retry = max(event.get("retry", 0) for event in own)
        legs.append(Leg(retry, first.get("leg.ringing"), answered, first.get("leg.ended", ended)))
    return legs


def holds_of(call: Call, ended: int | None) -> list[tuple[int, int]]:
    """The closed intervals on hold: (begin, end). ``ended``: ts of the call's end, or None.

    The first call.held opens an interval, the next call.resumed closes it. The end of the call closes the open interval
    and shortens one that lasts beyond it; intervals that begin after the end do not count.
    """
    closed: list[tuple[int, int]] = []
    opened: int | None = None
    for event in of_types(call, "call.held", "call.resumed"):
        if event["type"] == "call.held":
            opened = event["ts"] if opened is None else opened
        elif opened is not None:
            closed.append((opened, event["ts"]))
            opened = None
    if ended is None:
        return closed
    if opened is not None:
        closed.append((opened, ended))
    return [(begin, min(end, ended)) for begin, end in closed if begin <= ended]


def current_ivr(call: Call) -> str:
    """The IVR that the caller entered last and has not left since; "" for none."""
    left: set[str] = set()
    for event in reversed(of_types(call, "ivr.entered", "ivr.left")):
        if event["type"] == "ivr.left":
            left.add(event["ivrId"])
        elif event["ivrId"] not in left:
            return str(event["ivrId"])
    return ""


def inputs_of(call: Call) -> list[tuple[str, bool, str]]:
    """(digits, valid, IVR or "") of each DTMF input. Of events with one id the smallest (ts, digits, ...) counts."""
    by_id: dict[str, tuple[int, str, bool, str]] = {}
    for event in of_types(call, "dtmf.received"):
        entry = event["ts"], event["digits"], event.get("valid", True), event.get("ivrId", "")
        by_id[event["id"]] = min(entry, by_id.get(event["id"], entry))
    return [entry[1:] for entry in by_id.values()]


# ---------------------------------------------------------------------------------------------------- counts

Counts = Iterator[tuple[str, int]]
"""Pairs (counter, amount) and, for an entry of a map, ("COUNTER/entry", amount). "rings", "holds" and "talks" stand for
no counter: they are the divisors of averages. Times are in ms."""


def live_counts(call: Call, clock: int, limits: Limits) -> Counts:
    """Yield what the call adds to the gauges at ``clock``; nothing if it does not live then."""
    start = start_of(call)
    if start is None or not lives(call, clock, limits):
        return
    yield "LCT/" + start["callType"], 1
    for key, name in (("RCMPID", start.get("campaignId")), ("LIVR", current_ivr(call)), ("LDID", start.get("did"))):
        if name:
            yield f"{key}/{name}", 1


def counts(call: Call, clock: int, limits: Limits) -> Counts:
    """Yield what the call adds to the counters of the window in which it started; nothing until its start is read."""
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
    if of_types(call, "call.transferred"):
        yield "TRSC", 1
    if of_types(call, "call.forwarded"):
        yield "FWC", 1
    for digits, valid, ivr in inputs_of(call):
        yield "DTMF/" + digits, 1
        yield ("DTMFV/" if valid else "DTMFINV/") + digits, 1
        if ivr:
            yield "DTMFI/" + ivr, 1
    ended = end[0] if end is not None else None
    legs, holds = legs_of(call, ended), holds_of(call, ended)
    yield from _outcome(call, ended, legs)
    yield from _times(ended, legs, holds)
    yield from _classes(legs)


def _outcome(call: Call, ended: int | None, legs: list[Leg]) -> Counts:
    """Yield the outcome of the call: connected (CNC), missed (MC), ghost (GHC) or, while it is open, none.

    A call is connected once a leg is answered. Without an answer, a call that has ended is missed if it rang or entered
    an IVR, and a ghost otherwise. CHSR counts beside MC: the caller hung up less than 5 s after the first ring, and
    not before it.
    """
    rings = [leg.ringing for leg in legs if leg.ringing is not None]
    if any(leg.answered is not None for leg in legs):
        yield "CNC", 1
    elif ended is not None:
        yield "MC" if rings or of_types(call, "ivr.entered") else "GHC", 1
        real = real_end(call)
        if real is not None and real.get("endedBy") == "caller" and rings and 0 <= real["ts"] - min(rings) < CHSR_MS:
            yield "CHSR", 1


def _times(ended: int | None, legs: list[Leg], holds: list[tuple[int, int]]) -> Counts:
    """Yield the times that legs rang, that the call was on hold, and that people talked, each with its divisor.

    People talk from the first answer to the end of the call, but for the times on hold after the first answer.
    """
    rang = [leg.ring_ms for leg in legs if leg.ring_ms is not None]
    if rang:
        yield "rings", len(rang)
        yield "ringTime", sum(rang)
    if holds:
        yield "holds", 1
        yield "holdTime", sum(end - begin for begin, end in holds)
    answers = [leg.answered for leg in legs if leg.answered is not None]
    if answers and ended is not None:
        answer = min(answers)
        held = sum(max(0, end - max(begin, answer)) for begin, end in holds)
        yield "talks", 1
        yield "actualTT", max(0, ended - answer - held)


def _classes(legs: list[Leg]) -> Counts:
    """Yield the class of the call by all its legs, the same by its retry legs, and counts of retry legs.

    An open leg is left out. The class is GH_UC if all legs are ghosts. Otherwise the legs that are no ghosts decide: CA
    if all were answered, CM if all were missed, PM if both occur. UC counts each call with a class. Names with FR_ are
    of the retry legs (retry above 0): FR_UC_N counts all of them that are not open; FR_CA_N, FR_CM_N and FR_PM_N do so
    for calls of that class; FR_GH_N counts the ghosts.
    """
    for prefix, looked_at in (("", legs), ("FR_", [leg for leg in legs if leg.retry > 0])):
        closed = [leg.leg_class for leg in looked_at if leg.leg_class != "open"]
        if not closed:
            continue
        real = set(closed) - {"ghost"}
        class_ = "PM" if len(real) == 2 else "CA" if "answered" in real else "CM" if "missed" in real else "GH_UC"
        yield prefix + "UC", 1
        yield prefix + class_, 1
        if prefix:
            yield "FR_UC_N", len(closed)
            if class_ != "GH_UC":
                yield f"FR_{class_}_N", len(closed)
            if "ghost" in closed:
                yield "FR_GH_N", closed.count("ghost")
