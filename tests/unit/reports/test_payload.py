"""The bytes of a reply: order, numbers, ETag, and the vendor's sample byte for byte."""

from __future__ import annotations

import json

import pytest

from ecounters.reports.payload import body, etag, in_order, message, seconds, whole
from ecounters.reports.totals import totals_of
from tests.support.builders import ALL_FIELDS, WIDE, Feed, call, event

SAMPLE = (
    b'{"message":{"LCT":{},"RCMPID":{},"RC":0,"LIVR":{},"LDID":{},"cBl":0,"CT":{"CTC":2},"CST":{"3":1,"6":1},"CMPID":{},'
    b'"DID":{},"DTMF":{},"DTMFV":{},"DTMFI":{},"DTMFINV":{},"GHC":0,"FWC":0,"TRSC":2,"MC":0,"ucBl":0,"TC":2,'
    b'"repeatCall":0,"freshCall":2,"CHSR":0,"CNC":2},"status":"success"}'
)


def golden() -> Feed:
    """The two click-to-call calls that the vendor's sample must have counted."""
    first = call("c1").started(0, "CTC", number="+15550001111").ringing(1, "1").answered(4, "1")
    first.add("call.transferred", 20).leg_ended(30, "1").ended(30, 3)
    second = call("c2").started(5, "CTC", number="+15550002222").ringing(6, "1").answered(9, "1")
    second.dialed(20, "2").ringing(21, "2").add("call.transferred", 25).leg_ended(29, "2").ended(40, 6)
    return Feed().take(first, second)


def test_the_vendors_sample_byte_for_byte() -> None:
    """The vendor's sample is reproduced in its 282 bytes and with its ETag."""
    user = golden().state.users["u1"]
    content = body(message(totals_of(user, *WIDE)))
    assert content == SAMPLE
    assert len(content) == 282
    assert etag(content) == 'W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk"'


def test_an_unknown_user_has_nothing() -> None:
    """A user without events gets a reply full of zeros, not an error."""
    values = json.loads(body(message(totals_of(None, *WIDE), ALL_FIELDS)))["message"]
    assert all(value in (0, {}) for value in values.values())


def test_fields_follow_the_payload_in_the_order_of_the_request() -> None:
    """Fields follow the payload in the order of the request; TC and MC are in the payload and come once."""
    values = message(totals_of(None, *WIDE), ["UC", "TC", "AC", "MC", "UC", "CA"])
    assert list(values)[24:] == ["UC", "AC", "CA"]
    assert list(values)[:24] == list(message(totals_of(None, *WIDE)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["b", "a", "1"], ["1", "a", "b"]),
        (["1", "-1", "0", "-10"], ["-10", "-1", "0", "1"]),
        (["B", "a", "Z"], ["B", "Z", "a"]),
        (["*", "#", "1#", "1"], ["1", "#", "*", "1#"]),
        (["1.5", "2", "+3", " 4"], ["2", " 4", "+3", "1.5"]),
        (["007", "7", "07"], ["007", "07", "7"]),
        (["\N{GRINNING FACE}", "\ufffd"], ["\ufffd", "\N{GRINNING FACE}"]),
        (["\u0663", "9"], ["9", "\u0663"]),
        (["9" * 60, "1" + "0" * 59, "5"], ["5", "1" + "0" * 59, "9" * 60]),
    ],
)
def test_the_order_of_a_map(names: list[str], expected: list[str]) -> None:
    """Whole numbers first, by value, then the others by code point, however they came."""
    assert list(in_order(dict.fromkeys(names, 1))) == expected
    assert list(in_order(dict.fromkeys(reversed(names), 1))) == expected


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (0, "0"),
        (-0.0, "0"),
        (12.0, "12"),
        (-3.0, "-3"),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (1e-7, "1e-7"),
    ],
)
def test_numbers_are_printed_whole_where_they_are(number: float, printed: str) -> None:
    """12.0 is 12; a fraction is printed as short as it can be."""
    assert body({"ucBl": whole(number)}) == b'{"message":{"ucBl":%s},"status":"success"}' % printed.encode()


@pytest.mark.parametrize(
    ("total_ms", "parts", "expected"),
    [(0, 1, 0), (0, 0, 0), (5, 0, 0), (1, 1, 0.001), (1_000, 1, 1), (1_500, 1, 1.5), (1_000, 3, 0.333),
     (2_000, 3, 0.667),
     (1, 2, 0.001), (1, 3, 0), (123_456_789_012_345, 1, 123_456_789_012.345)],
)  # fmt: skip
def test_seconds(total_ms: int, parts: int, expected: float) -> None:
    """ms become seconds with 3 decimals; an average of nothing is 0; what is whole is an integer."""
    assert seconds(total_ms, parts) == expected
    assert isinstance(seconds(total_ms, parts), int) == float(expected).is_integer()


def test_names_are_printed_as_they_are() -> None:
    """Quotes and line ends in names are escaped, and characters beyond ASCII are printed as they are."""
    feed = Feed().take(call().started(0, did='a"b\\\n\u2028é', campaignId="é"))
    content = body(feed.answer())
    assert json.loads(content)["message"]["DID"] == {'a"b\\\n\u2028é': 1}
    assert '"CMPID":{"é":1}'.encode() in content


def test_extreme_balances_are_printed() -> None:
    """Every balance that parse accepts can be printed."""
    for amount in (1e15, -1e15, 10**15, "999999999999999", 1e-300, 5e-324):
        feed = Feed().take(event("balance.updated", 0, balance=amount, callBalance=amount))
        assert json.loads(body(feed.answer()))["message"]["ucBl"] == pytest.approx(float(amount), abs=0)


def test_etags_differ_as_the_bodies_do() -> None:
    """An ETag is weak, has the length of the body in hexadecimal, and differs where the bodies differ."""
    assert etag(b"") == 'W/"0-2jmj7l5rSw0yVb/vlWAYkK/YBwk"'
    assert etag(SAMPLE) != etag(SAMPLE.replace(b'"TC":2', b'"TC":3'))
