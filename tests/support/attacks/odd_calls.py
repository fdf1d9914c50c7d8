"""Rows of calls that are told in an unusual way: each was counted wrong, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.support.attacks.event_attack import DID, Round, row

LEGS: Final = 10
SPELLINGS: Final = (
    "+15550001234",
    "+1 555 000 1234",
    "0015550001234",
    "tel:+15550001234",
    "sip:+15550001234@pbx.example.invalid;user=phone",
    "+1-555-000-1234",
    "+1 (555) 000.1234",
)
HIDDEN: Final = ("anonymous", "unknown", "Restricted", "sip:anonymous@anonymous.invalid", "withheld", "")


@row(2, {"TC": 1, "LCT": {}, "CST": {"3": 1}})
def a_long_cause(one: Round) -> Iterator[bytes]:
    """An end whose cause, which nobody reads, has 134 characters."""
    script = one.call().started(0, "IBD")
    yield from one.encoded(script.add("call.ended", 9, status=3, endedBy="system", cause="x" * 134))


@row(3, {"TC": 1, "TRSC": 1, "FWC": 1})
def a_transfer_to_a_long_uri(one: Round) -> Iterator[bytes]:
    """A transfer and a forwarding to a URI of 160 characters; an id of an agent that is an object."""
    to = f"sip:207@pbx.example.invalid?Replaces={'r' * 120}"
    script = one.call().started(0, "IBD").add("leg.dialed", 1, agentId={"id": 7}, nodeId=["n"])
    yield from one.encoded(
        script.add("call.transferred", 20, to=to).add("call.forwarded", 21, to=to).ended(30, status=3)
    )


@row(4, {"TC": 1, "freshCall": 1, "repeatCall": 0, "DTMF": {"66 digits": 1}})
def a_long_number_and_long_digits(one: Round) -> Iterator[bytes]:
    """A number in a URI of 151 characters, and an input of 66 digits."""
    number = f"sip:+15550009999@pbx.example.invalid;x={'y' * 113}"
    yield from one.encoded(one.call().started(0, "IBD", number=number).dtmf(5, "7" * 66).ended(9, status=3))


@row(6, {"LCT": {"IBD": 1}, "CST": {}, "CNC": 1})
def a_snapshot_amid_a_start(one: Round) -> Iterator[bytes]:
    """A snapshot that was taken before the call began, and is sent after it; then signs of life."""
    script, switch = one.call().started(59.999, "IBD", switchId=one.switch()), one.switch()
    yield from one.encoded(script, one.event("switch.snapshot", 60, switchId=switch, callIds=[]))
    later = one.call().answered(66).heartbeat(120)
    named = one.event("switch.snapshot", 180, switchId=switch, callIds=[script.call_id])
    yield from one.encoded(later, named)


@row(7, {"TC": 1, "CST": {"-2": 1}, "ringTime": 0, "MC": 1, "DTMF": {}}, refused={"call_id_reused": 5})
def a_call_id_after_a_restart(one: Round) -> Iterator[bytes]:
    """After a restart, a switch begins anew with the ids of its calls."""
    script = one.call().started(0, "IBD", switchId=one.switch()).ringing(60)
    yield from one.encoded(script, one.event("switch.restarted", 60, switchId=one.switch()))
    again = one.call().started(70, "IBD", switchId=one.switch()).ringing(72).answered(75).dtmf(80, "1").ended(100)
    yield from one.encoded(again)


@row(10, {"CA": 1, "PM": 0, "UC": 1, "CNC": 1, "ringTime": 5})
def a_ring_group(one: Round) -> Iterator[bytes]:
    """Ten legs ring for 5 s, the fourth answers, and the others end 50 ms later."""
    script = one.call().started(0, "IBD")
    for leg in range(LEGS):
        script.ringing(1, str(leg))
    script.answered(6, "3")
    for leg in range(LEGS):
        if leg != 3:
            script.leg_ended(6.05, str(leg), outcome="elsewhere")
    yield from one.encoded(script.ended(36))


@row(11, {"actualTT": 30, "holdTime": 60})
def a_queue_before_the_answer(one: Round) -> Iterator[bytes]:
    """On hold for a minute, then answered, and 30 s of talk."""
    yield from one.encoded(one.call().started(0, "IBD").held(1).resumed(61).answered(66).ended(96))


@row(12, {"TC": 1, "CHSR": 0})
def ringing_after_the_end(one: Round) -> Iterator[bytes]:
    """The caller hangs up, and 2 s later the leg rings."""
    yield from one.encoded(one.call().started(0, "IBD").ended(10, status=3, by="caller").ringing(12))


@row(13, {"CNC": 0, "MC": 1})
def an_answer_that_crosses_the_end(one: Round) -> Iterator[bytes]:
    """The caller hangs up 50 ms before the leg is answered."""
    script = one.call().started(0, "IBD").ringing(1).ended(10, status=3, by="caller")
    yield from one.encoded(script.answered(10.05))


@row(14, {"TC": len(HIDDEN), "freshCall": 0, "repeatCall": 0})
def hidden_callers(one: Round) -> Iterator[bytes]:
    """Words and addresses that stand for no number."""
    for at, number in enumerate(HIDDEN):
        yield from one.encoded(one.call(str(at)).started(at, "IBD", number=number).ended(at + 9))


@row(14, {"TC": len(SPELLINGS), "freshCall": 1, "repeatCall": len(SPELLINGS) - 1})
def spellings_of_a_number(one: Round) -> Iterator[bytes]:
    """One number, spelt in seven ways."""
    for at, number in enumerate(SPELLINGS):
        yield from one.encoded(one.call(str(at)).started(at, "IBD", number=number, did=DID).ended(at + 9))


@row(21, {"holdTime": 0, "TC": 1})
def a_hold_of_no_time(one: Round) -> Iterator[bytes]:
    """Resumed and held with one id and one time, in this order."""
    script = one.call().started(0, "IBD").add("call.resumed", 1, id="h").add("call.held", 1, id="h")
    yield from one.encoded(script.ended(11))
