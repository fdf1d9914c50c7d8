"""Each field of an event: its spellings, its bounds on both sides, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ecounters.errors import BadEvent
from ecounters.events import readers
from ecounters.events.campaigns import campaign_of
from ecounters.events.fields import FIELDS, UNREADABLE, Field
from ecounters.events.parse import parse
from ecounters.events.types import CALL_TYPES, TYPES, DtmfReceived, Started
from tests.support.builders import T0_MS as TS
from tests.support.event_messages import least, raw, read, refusal

# -------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TS, TS),
        (float(TS), TS),
        (str(TS), TS),
        ("2026-03-10T12:00:00Z", TS),
        ("2026-03-10t12:00:00z", TS),
        ("2026-03-10T12:00:00.000Z", TS),
        ("2026-03-10T12:00:00.9Z", TS + 900),
        ("2026-03-10T12:00:00.123999999Z", TS + 123),
        ("2026-03-10T17:30:00+05:30", TS),
        ("2026-03-10T05:00:00.001-07:00", TS + 1),
        ("2026-03-11T01:45:00+13:45", TS),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        (946_684_800_000, 946_684_800_000),
        (4_102_444_799_999, 4_102_444_799_999),
        ("2000-01-01T00:00:00Z", 946_684_800_000),
        ("2099-12-31T23:59:59.999Z", 4_102_444_799_999),
    ],
)
def test_times(value: object, expected: int) -> None:
    """Milliseconds, their digits, and RFC 3339 in its forms name one time."""
    assert read(least("call.heartbeat") | {"ts": value}).ts == expected


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 946_684_799_999, 4_102_444_800_000, TS // 1000, TS * 1000, 10**30, -(10**30),
        "0", str(TS // 1000), "-1", "", " ", "yesterday", "9" * 40, "\u0663" * 13,
        "1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00Z", "2026-03-10T12:00:00", "2026-03-10", "12:00:00Z",
        "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-03-10T25:00:00Z", "2026-03-10T12:60:00Z",
        "2026-03-10T12:00:00+24:00", "2026-03-10T12:00:00+0530", "2026-03-10T12:00:00.Z", "2026-03-10T12:00:00ZZ",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-10T12:00:00Z\n",
    ],
)  # fmt: skip
def test_times_out_of_range_or_of_no_calendar_are_refused(value: object) -> None:
    """A time before 2000 or after 2099, without an offset, or of no calendar is refused as `bad_ts`."""
    assert refusal(least("call.heartbeat") | {"ts": value}) == ("bad_ts", "ts")


def test_a_time_behind_another_of_its_minute() -> None:
    """The minute is remembered, for its offset; second and fraction are read and checked each time."""
    for text, expected in (
        ("2026-03-10T12:00:59.999+00:00", TS + 59_999),
        ("2026-03-10T12:00:00.000+00:00", TS),
        ("2026-03-10T12:00:07.25+00:00", TS + 7_250),
        ("2026-03-10T12:00:07.2509+00:00", TS + 7_250),
        ("2026-03-10T12:00:07.250-00:00", TS + 7_250),
        ("2026-03-10T12:00:07.250+01:00", TS + 7_250 - 3_600_000),
        ("2026-03-10 12:00:07.250z", TS + 7_250),
        ("2026-03-10T12:00:07Z", TS + 7_000),
        ("2026-03-10T12:00:07.250Z", TS + 7_250),
    ):
        assert read(least("call.heartbeat") | {"ts": text}).ts == expected
    for bad in ("60.000", "0a.000", "07.0a0", "07,000", "07.+10", "07.\u0663\u0663\u0663", "\u06630.000", "7.0000"):
        assert refusal(least("call.heartbeat") | {"ts": f"2026-03-10T12:00:{bad}+00:00"}) == ("bad_ts", "ts"), bad


def test_times_of_ever_new_minutes_do_not_fill_the_memory() -> None:
    """What is remembered of minutes is bounded, and times behind that are read as well."""
    for minute in range(1_500):
        text = datetime.fromtimestamp(TS / 1000 + 60 * minute, UTC).isoformat()
        assert read(least("call.heartbeat") | {"ts": text}).ts == TS + 60_000 * minute
        assert len(readers._MINUTES) <= 1_000


def test_a_time_with_a_fraction_of_a_ms_is_refused() -> None:
    """A JSON float is a time only if it is whole, and huge numbers are refused like any others of a bad value."""
    assert refusal(least("call.heartbeat") | {"ts": TS + 0.5}) == ("wrong_type", "ts")
    assert refusal(raw("call.heartbeat", ts="1e999"))[1] == "ts"
    assert refusal(raw("call.heartbeat", ts="9" * 5_000)) == ("bad_ts", "ts")
    assert refusal(raw("call.ended", status="9" * 5_000)) == ("bad_value", "status")
    assert refusal(raw("balance.updated", balance="-" + "9" * 5_000)) == ("bad_value", "balance")
    assert refusal(raw("call.started", callType="9" * 5_000)) == ("wrong_type", "callType")
    assert refusal(raw("call.started", callId="9" * 5_000)) == ("wrong_type", "callId")


# -------------------------------------------------------------------------------------------- own fields

WHOLE = [
    ("leg.dialed", "retry", "retry", 0, 1000, "bad_value"),
    ("call.ended", "status", "status", -(2**31), 2**31 - 1, "bad_value"),
]


@pytest.mark.parametrize(("kind", "field", "name", "low", "high", "reason"), WHOLE)
def test_whole_numbers_and_their_bounds(kind: str, field: str, name: str, low: int, high: int, reason: str) -> None:
    """Numbers and their text mean the same, up to both bounds and not beyond them."""
    for good in (low, high, 1):
        for value in (good, str(good), float(good)):
            assert getattr(read(least(kind) | {field: value}), name) == good
    for bad in (low - 1, high + 1, str(high + 1), str(low - 1)):
        assert refusal(least(kind) | {field: bad}) == (reason, field)
    for wrong in (1.5, "1.5", "", "one", " 1", "+1", "1e3", "\u0661", [1], False):
        assert refusal(least(kind) | {field: wrong}) == ("wrong_type", field)
    for huge in ("9" * 30, "9" * 5_000, "1e999"):
        assert refusal(raw(kind, **{field: huge})) in {("bad_value", field), ("wrong_type", field)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, "12"), ("12", "12"), (-1, "-1"), ("-1", "-1"), (0, ""), ("0", ""), ("", ""), (None, ""),
        ("summer", "summer"), (" 12", " 12"), ("1.5", "1.5"), (10**40, "1" + "0" * 40), (2**63, str(2**63)),
    ],
)  # fmt: skip
def test_campaigns(value: object, expected: str) -> None:
    """A campaign is text; 0, "0", "" and null are none; -1 is one."""
    for ts in (TS, str(TS)):
        assert campaign_of(read(least("call.started") | {"campaignId": value, "ts": ts}).campaign_id) == expected


def test_campaigns_that_are_none() -> None:
    """A campaign is text or a whole number."""
    assert refusal(least("call.started") | {"campaignId": 1.5}) == ("wrong_type", "campaignId")
    assert refusal(least("call.started") | {"campaignId": False}) == ("wrong_type", "campaignId")


@pytest.mark.parametrize("length", [129, 4_300, 4_301, 20_000])
def test_a_long_integer_means_what_its_digits_mean_as_text(length: int) -> None:
    """Texts that a counter reads are cut, DTMF inputs count by their length, ids are too long. Python makes no int of
    more than 4,300 digits."""
    digits = "9" * length
    started = parse(raw("call.started", campaignId=digits, did="-" + digits[1:], number=digits))
    assert isinstance(started, Started)
    assert (campaign_of(started.campaign_id), started.did, started.number) == ("9" * 128, "-" + digits[1:], digits)
    pressed = parse(raw("dtmf.received", digits=digits))
    assert isinstance(pressed, DtmfReceived)
    assert pressed.digits == digits
    assert refusal(raw("leg.ringing", legId=digits)) == ("too_long", "legId")
    assert refusal(raw("ivr.entered", ivrId=digits)) == ("too_long", "ivrId")


@pytest.mark.parametrize("kind", CALL_TYPES)
def test_call_types(kind: str) -> None:
    """Every documented call type is taken as it is written."""
    assert read(least("call.started") | {"callType": kind}).call_type == kind


@pytest.mark.parametrize("kind", ["ibd", "XYZ", "", " IBD"])
def test_other_call_types_are_refused(kind: str) -> None:
    """A call type that is not in the table is refused: it would be a counter that nobody knows."""
    assert refusal(least("call.started") | {"callType": kind}) == ("bad_value", "callType")


@pytest.mark.parametrize("field", ["balance", "callBalance"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("-3", -3), ("2.50", 2.5), ("0.1", 0.1), ("1e3", 1000), ('"12.5"', 12.5), ('"-7"', -7), ("1e15", 1e15)],
)
def test_balances(field: str, value: str, expected: float) -> None:
    """A balance is a number up to AMOUNT_MAX, or the text of one."""
    name = "balance" if field == "balance" else "call_balance"
    assert getattr(parse(raw("balance.updated", **{field: value})), name) == expected


@pytest.mark.parametrize("field", ["balance", "callBalance"])
@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "1e300", "9" * 400, "9" * 5_000, '"1e999"', '"NaN"', '""', "true"]
)
def test_balances_that_json_could_not_print_are_refused(field: str, value: str) -> None:
    """An amount beyond every account is an error of the switch, and must not stop the partition."""
    reason, named = refusal(raw("balance.updated", **{field: value}))
    assert (reason in {"bad_value", "wrong_type"}, named) == (True, field)


@pytest.mark.parametrize(
    ("kind", "field", "name", "most"),
    [
        ("call.heartbeat", "id", "id", 128),
        ("call.heartbeat", "userId", "user_id", 128),
        ("call.heartbeat", "callId", "call_id", 128),
        ("call.heartbeat", "switchId", "switch_id", 128),
        ("leg.dialed", "legId", "leg_id", 128),
        ("ivr.entered", "ivrId", "ivr_id", 128),
    ],
)
def test_texts_have_a_length(kind: str, field: str, name: str, most: int) -> None:
    """Characters are counted, not bytes; one more than the bound is refused."""
    longest = "\N{SNOWMAN}" * most
    assert getattr(read(least(kind) | {field: longest}), name) == longest
    assert refusal(least(kind) | {field: longest + "x"}) == ("too_long", field)


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        ("call.started", "did", "did"),
        ("call.started", "number", "number"),
        ("leg.dialed", "legId", "leg_id"),
        ("ivr.entered", "ivrId", "ivr_id"),
        ("dtmf.received", "digits", "digits"),
    ],
)
def test_names_given_as_integers_are_their_text(kind: str, field: str, name: str) -> None:
    """A switch may send such names as numbers; true, a fraction and an object are not names."""
    assert getattr(read(least(kind) | {field: 15550001111}), name) == "15550001111"
    for wrong in (True, 1.5, dict[str, int](), [1]):
        assert refusal(least(kind) | {field: wrong}) == ("wrong_type", field)


@pytest.mark.parametrize("field", ["id", "userId", "callId", "switchId"])
def test_ids_are_strings(field: str) -> None:
    """An id given as a number is refused: 1 and 1.0 and "1" would be three spellings of one thing."""
    assert refusal(least("call.heartbeat") | {field: 17}) == ("wrong_type", field)


@pytest.mark.parametrize(("kind", "field"), [("call.ended", "endedBy"), ("leg.ended", "outcome")])
def test_texts_are_strings(kind: str, field: str) -> None:
    """Of endedBy and outcome, a number is refused, and null means "not given"."""
    assert refusal(least(kind) | {field: 17}) == ("wrong_type", field)
    assert read(least(kind) | {field: None}).type == kind


def test_empty_optional_texts_are_absent() -> None:
    """ "" for a DID, a number, an IVR of an input or a leg is as if it were not given; digits must be there."""
    started = read(least("call.started") | {"did": "", "number": ""})
    assert (started.did or "", started.number or "") == ("", "")
    assert not read(least("dtmf.received") | {"ivrId": ""}).ivr_id
    assert read(least("leg.ringing") | {"legId": ""}).leg_id == "1"
    assert refusal(least("dtmf.received") | {"digits": ""}) == ("bad_value", "digits")


def test_valid_is_true_or_false() -> None:
    """Only true and false are booleans; a field that is absent or null is true."""
    assert read(least("dtmf.received") | {"valid": False}).valid is False
    assert read(least("dtmf.received") | {"valid": None}).valid is True
    for wrong in (0, 1, "true", "false", [1], "x"):
        assert refusal(least("dtmf.received") | {"valid": wrong}) == ("wrong_type", "valid")


def test_call_ids_are_a_list_of_ids() -> None:
    """A snapshot names calls by their ids, none of them empty or a number."""
    assert read(least("switch.snapshot") | {"callIds": ["c1", "c2"]}).call_ids == ["c1", "c2"]
    assert refusal(least("switch.snapshot") | {"callIds": ["c1", ""]}) == ("empty_id", "callIds")
    assert refusal(least("switch.snapshot") | {"callIds": ["c1", 2]}) == ("wrong_type", "callIds")
    assert refusal(least("switch.snapshot") | {"callIds": ["x" * 129]}) == ("too_long", "callIds")
    assert refusal(least("switch.snapshot") | {"callIds": "c1"}) == ("wrong_type", "callIds")


# ------------------------------------------------------------------------------------------------ the table


def test_every_field_of_every_type_has_one_row() -> None:
    """The fields that the classes declare are those of the table, and no row is left over."""
    declared = {name for kind in TYPES.values() for name in ("id", "ts", "switchId", *kind.required, *kind.optional)}
    assert set(FIELDS) == declared
    assert all(name == field.name for name, field in FIELDS.items())


@pytest.mark.parametrize("field", [row for row in FIELDS.values() if row.name != "callIds"], ids=lambda row: row.name)
def test_no_reader_takes_a_number_that_nothing_can_hold(field: Field) -> None:
    """Every reader of decoded values refuses UNREADABLE, as a bad value or as a value of a wrong type."""
    with pytest.raises(BadEvent) as caught:
        field.read(UNREADABLE, field.name)
    assert caught.value.reason in {"wrong_type", "bad_value"} and caught.value.field == field.name


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("call.ended", "cause"),
        ("call.transferred", "to"),
        ("call.forwarded", "to"),
        ("leg.dialed", "nodeId"),
        ("leg.dialed", "agentId"),
    ],
)
@pytest.mark.parametrize("value", ["x" * 9_000, 17, {"a": [1]}, None, True])
def test_fields_that_no_counter_reads_may_hold_anything(kind: str, field: str, value: object) -> None:
    """No event is lost for what nobody reads, neither on the quick nor on the careful way."""
    for ts in (TS, str(TS)):
        assert read(least(kind) | {field: value, "ts": ts}).type == kind


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        ("call.started", "did", "did"),
        ("call.started", "number", "number"),
        ("dtmf.received", "ivrId", "ivr_id"),
        ("dtmf.received", "digits", "digits"),
        ("call.ended", "endedBy", "ended_by"),
        ("leg.ended", "outcome", "outcome"),
    ],
)
def test_long_texts_that_a_counter_reads_are_no_fault(kind: str, field: str, name: str) -> None:
    """The join cuts them; the event counts."""
    for ts in (TS, str(TS)):
        assert getattr(read(least(kind) | {field: "9" * 500, "ts": ts}), name) == "9" * 500


def test_a_long_campaign_is_cut() -> None:
    """As the other texts; the cut text is the campaign."""
    for ts in (TS, str(TS)):
        assert campaign_of(read(least("call.started") | {"campaignId": "x" * 200, "ts": ts}).campaign_id) == "x" * 128
