"""How the recount reads texts: numbers in one spelling, long DTMF inputs, long and ignored fields, large messages."""

from __future__ import annotations

from typing import Any

import pytest

from ecounters.recount.call import Limits
from ecounters.recount.parse import Bad, parse
from ecounters.recount.texts import shown, spelled
from tests.support.builders import T0_MS, Event, call, encoded, event
from tests.unit.recount.recounted_log import Recounted, recounted

SPELLINGS = (
    "+919876543210", "+91 98765 43210", "00919876543210", "tel:+91-98765-43210", "sip:+919876543210@host;user=phone",
    "SIPS:+91.9876.543210@[2001:db8::1]", " \tTel:0091 (98765) 43210;ext=7 ",
    "+91\u201098\u201176\u201254\u20133\u201421\u20150",
    "+91\u2212[98]{76}\u00a0543210", "sip: +919876543210@host",
)  # fmt: skip
"""One number."""


@pytest.mark.parametrize("number", SPELLINGS)
def test_one_number_has_one_spelling(number: str) -> None:
    """Row 14: URIs, spaces, dots, dashes, brackets, and 00 for +."""
    assert spelled(number) == "+919876543210"
    first = call("a").started(0, number="+919876543210")
    assert recounted(first, call("b").started(1, number=number)).counted("freshCall", "repeatCall") == (1, 1)


@pytest.mark.parametrize(
    "number",
    ["anonymous", "unknown", "Restricted", "PRIVATE", "unavailable", "withheld", "Blocked", "sip:anonymous@x.invalid",
     " tel:Unknown ", "+anonymous", "", " ", "+", "00", "sip:@host", "sip:;x", "-", "()", "ano ny-mous", None],
)  # fmt: skip
def test_a_caller_who_shows_no_number_is_neither_fresh_nor_repeat(number: str | None) -> None:
    """In any case and any spelling, and with nothing left of it."""
    log = recounted(*(call(f"c{at}").started(at, number=number) for at in range(2)))
    assert log.counted("TC", "freshCall", "repeatCall") == (2, 0, 0)


@pytest.mark.parametrize(
    ("number", "kept"),
    [("sip:sip:1", "sip:1"), ("sip:tel:1", "tel:1"), ("x1", "x1"), ("++1", "++1"), ("+001", "+001"), ("000", "+0"),
     ("1;2@3", "1"), ("1@2;3", "1"), ("anonymous1", "anonymous1"), ("tel", "tel"), ("0 0 9", "+9"),
     ("s ip:1", "sip:1")],
)  # fmt: skip
def test_other_numbers_stay_as_they_are(number: str, kept: str) -> None:
    """One scheme goes, one plus does not count, and the zeros count after the spaces went."""
    assert spelled(number) == kept


def read(kind: str, **fields: Any) -> dict[str, Any]:
    """The fields that the parser reads of an event of that type."""
    given = {"callId": "c", "callType": "IBD", "digits": "1", "status": 3, "ivrId": "i"}
    return parse(encoded({"id": "e", "type": kind, "ts": T0_MS, "userId": "u", **given, **fields}))


def test_a_number_is_cut_after_its_spelling() -> None:
    """What goes does not count towards the 128 characters; integers are read by their digits."""
    uri = f"sip:{'1-' * 128}9@host;user=phone"
    assert read("call.started", number=uri)["number"] == "1" * 128
    assert read("call.started", number=15550001111)["number"] == "15550001111"
    assert read("call.started", number=-5)["number"] == "5"
    assert "number" not in read("call.started", number="x")["userId"]
    with pytest.raises(Bad, match="wrong_type"):
        read("call.started", number=1.5)


LONG = "x" * 129


@pytest.mark.parametrize(
    ("kind", "name"),
    [("call.started", "did"), ("call.started", "campaignId"), ("call.started", "number"), ("dtmf.received", "ivrId"),
     ("leg.ended", "outcome"), ("call.ended", "endedBy")],
)  # fmt: skip
def test_long_texts_are_cut(kind: str, name: str) -> None:
    """Row 4: at 128 characters; the event counts."""
    assert read(kind, **{name: LONG})[name] == "x" * 128
    assert read(kind, **{name: "x" * 128})[name] == "x" * 128


def test_a_long_call_type_is_no_call_type() -> None:
    """It is no id, so its length is not what is wrong with it."""
    assert Recounted().refused(call().started(0, LONG)) == [("bad_value", "callType")]


def test_a_long_integer_is_cut_as_its_digits() -> None:
    """A campaign is cut before leading zeros go."""
    assert read("call.started", did=int("7" * 200))["did"] == "7" * 128
    assert read("call.started", campaignId="0" * 128 + "7").get("campaignId") is None
    assert read("call.started", campaignId="0" * 127 + "7")["campaignId"] == "7"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("call.started", "id"), ("call.started", "userId"), ("call.started", "callId"), ("call.started", "switchId"),
     ("leg.ringing", "legId"), ("ivr.entered", "ivrId"), ("ivr.left", "ivrId")],
)  # fmt: skip
def test_long_ids_are_refused(kind: str, name: str) -> None:
    """A cut id would be another one."""
    assert read(kind, **{name: "x" * 128})[name] == "x" * 128
    assert Recounted().refused(encoded({**read(kind), name: LONG})) == [("too_long", name)]
    if name in ("legId", "ivrId"):
        assert Recounted().refused(encoded({**read(kind), name: int("7" * 129)})) == [("too_long", name)]


@pytest.mark.parametrize("kind", ["call.transferred", "call.forwarded", "call.ended", "leg.dialed", "call.started"])
@pytest.mark.parametrize("value", [LONG, 7, 1.5, [], {"a": None}, True, ""])
def test_fields_that_nothing_counts_hold_anything(kind: str, value: Any) -> None:
    """Rows 2 and 3: to, cause, nodeId and agentId are ignored."""
    ignored = dict.fromkeys(("to", "cause", "nodeId", "agentId", "other"), value)
    assert read(kind, **ignored) == read(kind)


def test_a_long_cause_ends_the_call_and_a_long_target_transfers_it() -> None:
    """Rows 2 and 3, counted."""
    script = call().started(0).add("call.transferred", 5, to=LONG).ended(9, 3, "system")
    script.events[-1]["cause"] = "y" * 134
    assert recounted(script).counted("TRSC", "CST", "LCT") == (1, {"3": 1}, {})


# --------------------------------------------------------------------------------------------------- DTMF inputs


@pytest.mark.parametrize(
    ("digits", "most", "counted"),
    [("1234", 4, "1234"), ("12345", 4, "5 digits"), ("1", 0, "1 digits"), ("9" * 32, 32, "9" * 32),
     ("*" * 66, 4, "66 digits"), ("2 digits", 4, "8 digits"), ("12345", 5, "12345"), ("٣٣٣٣٣", 4, "5 digits")],
)  # fmt: skip
def test_long_inputs_count_under_how_long_they_are(digits: str, most: int, counted: str) -> None:
    """Row 4: more characters than the setting says; digits are kept nowhere."""
    assert shown(digits, most) == counted
    log = recounted(call().started(0).dtmf(1, digits, ivr="m"), limits=Limits(dtmf_digits=most))
    assert log.counted("DTMF", "DTMFV", "DTMFI") == ({counted: 1}, {counted: 1}, {"m": 1})


def test_an_integer_is_an_input_of_its_digits() -> None:
    """Of any length."""
    assert recounted(call().started(0), {**call().dtmf(1, "1").events[0], "digits": int("1" * 200)}).counted(
        "DTMF"
    ) == ({"200 digits": 1},)


def test_inputs_are_hidden_before_anything_else() -> None:
    """Two messages with one id, whose digits differ and are hidden, are one input and one event."""
    one: Event = call().dtmf(1, "12345").events[0]
    log = recounted(call().started(0), one, {**one, "digits": "54321"}, limits=Limits(inputs=1))
    assert log.counted("DTMF") == ({"5 digits": 1},)


@pytest.mark.parametrize(
    ("digits", "why"), [("", "bad_value"), (None, "missing"), (1.5, "wrong_type"), ([], "wrong_type")]
)
def test_digits_are_required(digits: Any, why: str) -> None:
    """At least one character, as text or as an integer."""
    assert Recounted().refused({**call().dtmf(1, "1").events[0], "digits": digits}) == [(why, "digits")]


# --------------------------------------------------------------------------------------------------------- sizes


def padded(given: Event, size: int) -> bytes:
    """The event as a message of so many bytes."""
    return encoded(given) + b" " * (size - len(encoded(given)))


def test_a_snapshot_may_have_a_mebibyte() -> None:
    """Row 9: 2,000 UUIDs; other events may have 64 KiB."""
    many = [f"{at:036}" for at in range(2_000)]
    log = recounted(call("lost").started(0, switchId="s"), event("switch.snapshot", 1, switchId="s", callIds=many))
    assert log.counted("CST") == ({"-3": 1},)
    snapshot, other = event("switch.snapshot", 2, switchId="s", callIds=[]), call().started(0).events[0]
    log.take(padded(snapshot, 1_048_576), padded(other, 65_536))
    assert log.refused(padded(snapshot, 1_048_577), padded(other, 65_537)) == [("too_large", "")] * 2


@pytest.mark.parametrize(
    "value", [b"{" * 65_537, b"[" + b" " * 65_536 + b"]", b'{"type":7,"x":"' + b"y" * 65_536 + b'"}']
)
def test_what_is_large_and_no_snapshot_is_too_large(value: bytes) -> None:
    """Whatever else is wrong with it."""
    assert Recounted().refused(value) == [("too_large", "")]


def test_a_large_snapshot_is_read_as_any_other_event() -> None:
    """Its own faults are named."""
    faulty = {**event("switch.snapshot", 2, switchId="s", callIds=["c"] * 20_000), "switchId": ""}
    assert Recounted().refused(faulty) == [("empty_id", "switchId")]
