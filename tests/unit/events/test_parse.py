"""parse: what is taken, what is refused, and with which reason and field."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import repeat
from typing import Final

import pytest

from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from ecounters.events.types import CALL_TYPES, TYPES
from tests.support.both_parsers import counted, recounted
from tests.support.builders import T0_MS as TS
from tests.support.event_messages import OWN, least, raw, read, refusal
from tests.support.steps import STEP_MAX, unit_s


def test_the_types_are_the_documented_ones() -> None:
    """The table of types holds what the specification lists, and so does that of call types."""
    assert set(TYPES) == set(OWN)
    assert CALL_TYPES == ("IBD", "OBD", "BRD", "QC", "CTC", "POOL", "MASK", "FLASH")


@pytest.mark.parametrize("kind", OWN)
def test_the_least_event_of_each_type_is_taken(kind: str) -> None:
    """An event that has its required fields alone is taken, with the documented defaults for the others."""
    taken = read(least(kind))
    assert (taken.type, taken.id, taken.ts) == (kind, "e1", TS)
    defaults = {"leg_id": "1", "retry": 0, "valid": True}
    assert all(getattr(taken, name, value) == value for name, value in defaults.items())


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in OWN for field in least(kind) if field != "type"])
def test_an_event_without_a_required_field_is_refused(kind: str, field: str) -> None:
    """Without a required field, or with null for it, an event is refused and the field named."""
    event = least(kind)
    assert refusal(event | {field: None}) == ("missing", field)
    del event[field]
    assert refusal(event) == ("missing", field)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in OWN for field in least(kind)])
def test_each_required_field_has_a_type(kind: str, field: str) -> None:
    """A JSON value of another type than the documented one is refused and the field named."""
    for wrong in (True, {}, {"a": 1}, 1.5 if field != "balance" else [1]):
        assert refusal(least(kind) | {field: wrong}) == ("wrong_type", field)


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, f) for kind in OWN for f in ("id", "userId", "callId", "switchId", "ivrId") if f in least(kind)],
)
def test_an_empty_id_is_refused(kind: str, field: str) -> None:
    """An id that is the empty text is refused as `empty_id`."""
    assert refusal(least(kind) | {field: ""}) == ("empty_id", field)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ("empty", "")),
        (b"", ("empty", "")),
        (b" ", ("not_json", "")),
        (b"nonsense", ("not_json", "")),
        (b'{"id":"e1"', ("not_json", "")),
        (b'{"id":"e1"}}', ("not_json", "")),
        (b"{'id':'e1'}", ("not_json", "")),
        (b'["e1"', ("not_json", "")),
        (b'"\xff"', ("not_json", "")),
        (b"\xef\xbb\xbf{}", ("not_json", "")),
        ('{"id":"e1"}'.encode("utf-16"), ("not_json", "")),
        (b"[" * 60_000, ("not_json", "")),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, ("not_json", "")),
        (b"[]", ("not_object", "")),
        (b"null", ("not_object", "")),
        (b"1", ("not_object", "")),
        (b'"text"', ("not_object", "")),
        (b"{}", ("missing", "type")),
        (b'{"type":"call.sung"}', ("unknown_type", "type")),
        (b'{"type":""}', ("unknown_type", "type")),
        (b'{"type":7}', ("wrong_type", "type")),
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(value: bytes | None, expected: tuple[str, str]) -> None:
    """A message that is not even an event is refused with the reason that says in which way."""
    assert refusal(value) == expected


def test_a_message_may_have_64_kib() -> None:
    """65,536 bytes are taken, one more is not."""
    value = raw("call.heartbeat", x='"' + "y" * 60_000 + '"')
    assert parse(value + b" " * (65_536 - len(value))).type == "call.heartbeat"
    assert refusal(value + b" " * (65_537 - len(value))) == ("too_large", "")


@pytest.mark.parametrize("careful", [False, True], ids=["quick", "careful"])
@pytest.mark.parametrize("extra", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80"])
def test_bad_utf8_is_refused_wherever_it_stands(extra: bytes, careful: bool) -> None:
    """Bytes that are not UTF-8 are not JSON: in a field that is read, in one that is not, and in a name."""
    base = raw("call.heartbeat", ts=f'"{TS}"' if careful else str(TS))[:-1]
    for field in (b'"userId":"%s"', b'"x":"%s"', b'"%s":1', b'"x":{"y":["%s"]}'):
        assert refusal(base + b"," + field.replace(b"%s", extra) + b"}") == ("not_json", "")


def test_lone_surrogates_are_refused_and_pairs_taken() -> None:
    """Half of a surrogate pair is refused, for it cannot be written as UTF-8; a whole pair is one character."""
    assert refusal(raw("call.heartbeat", userId='"\\ud800"')) == ("not_json", "")
    assert refusal(raw("call.heartbeat", cause='"\\udfff"')) == ("not_json", "")
    assert parse(raw("call.heartbeat", userId='"\\ud83d\\ude00"')).user_id == "\N{GRINNING FACE}"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10"])
def test_what_json_has_no_numbers_for_is_refused(number: str) -> None:
    """Numbers that only JavaScript or Python would read are refused as `not_json`."""
    assert refusal(raw("balance.updated", balance=number)) == ("not_json", "")


def test_of_a_field_given_twice_the_last_counts() -> None:
    """Of duplicate keys the last one counts, as with every common reader of JSON, whichever of them is right."""
    assert parse(raw("call.heartbeat")[:-1] + b',"userId":"u2"}').user_id == "u2"
    assert parse(b'{"userId":5,' + raw("call.heartbeat")[1:]).user_id == "u1"
    assert refusal(raw("call.heartbeat")[:-1] + b',"userId":5}') == ("wrong_type", "userId")


@pytest.mark.parametrize("kind", OWN)
def test_fields_that_are_not_the_types_own_are_ignored(kind: str) -> None:
    """Both ways of parsing ignore unknown fields of any value: a newer switch breaks no older worker."""
    strange = {"mood": {"a": [1]}, "callType": "NEW", "balance": "lots", "status": "OK", "valid": 1, "callIds": 3}
    if kind != "call.ended":
        strange["cause"] = 17
    allowed = {name: value for name, value in strange.items() if name not in OWN[kind] and name != "valid"}
    if kind != "dtmf.received":
        allowed["valid"] = 1
    for ts in (TS, str(TS)):
        assert read(least(kind) | allowed | {"ts": ts}).type == kind
    deep = b'"x":1e999,"y":' + b"[" * 50 + b"]" * 50 + b',"z":' + b"9" * 5_000
    assert parse(raw(kind)[:-1] + b"," + deep + b"}").type == kind
    assert parse(raw(kind, ts=f'"{TS}"')[:-1] + b"," + deep + b"}").type == kind


def test_the_order_of_the_checks() -> None:
    """Of several faults the one is named that is checked first: type, id, ts, userId, callId, own fields."""
    faults = {"type": 1, "id": "", "ts": 0, "userId": 1, "callId": "", "status": "x"}
    order = []
    event = dict(faults)
    while event:
        order.append(refusal(least("call.ended") | event)[1])
        del event[order[-1]]
    assert order == ["type", "id", "ts", "userId", "callId", "status"]


def test_a_restart_may_name_a_user_but_not_an_empty_one() -> None:
    """A restart without a userId is of all users, so that the empty text must be refused."""
    assert read(least("switch.restarted")).user_id is None
    assert read(least("switch.restarted") | {"userId": "u1"}).user_id == "u1"
    assert refusal(least("switch.restarted") | {"userId": ""}) == ("empty_id", "userId")


def nested(levels: int, inside: str = "") -> str:
    """An array in an array in an array, with something in the innermost."""
    return "[" * levels + inside + "]" * levels


def after(frames: int, value: bytes) -> tuple[str, str]:
    """What both parsers make of a value, called with so many frames more on the stack."""
    return (counted(value), recounted(value)) if not frames else after(frames - 1, value)


@pytest.mark.parametrize("frames", [0, 200, 500])
def test_how_deep_a_value_may_be_nested_does_not_go_by_the_stack(frames: int) -> None:
    """200 levels are taken and 201 are not, by both parsers. Brackets in texts are no levels, closed ones neither."""
    closed = ",".join(["[]", "{}"] * 200)
    texts = ('"[[[{{{"', '"\\\\"', '"\\"["', f'"{"[" * 300}"', '{"]]":"}}"}')
    for inside, more in (("", ""), (closed, ""), (",".join(texts), f",{closed}")):
        taken = raw("call.heartbeat", x=nested(199 - bool(inside), inside + more))
        assert len(set(after(frames, taken))) == 1
        assert "not_json" not in after(frames, taken)[0]
        refused = raw("call.heartbeat", x=nested(200, inside + more))
        assert after(frames, refused) == ("('not_json', '')",) * 2


@pytest.mark.parametrize("escaped", [b'\\"', b'"', b'"\\', b"[]", b"[" * 200 + b"]" * 200])
@pytest.mark.parametrize("begin", [b"[" * 201, b"[" * 201 + b'"', b'{"x":' + b"[" * 201 + b'"'])
def test_to_find_out_how_deep_a_value_is_takes_no_long(begin: bytes, escaped: bytes) -> None:
    """Nor if a text in it is not closed: each quote in it may be escaped, and may begin one."""
    value = (begin + escaped * 65_536)[:65_536]
    assert after(0, value) == ("('not_json', '')",) * 2
    best = 1e9
    for _ in range(3):
        began = time.thread_time()
        refusal(value)
        best = min(best, time.thread_time() - began)
    assert best / unit_s() < LONG


def test_a_long_snapshot_has_few_arrays_and_objects() -> None:
    """Else to find out how deep they are would take long. Brackets in its ids are none."""
    ids = ",".join(f'"{{{at:036}}}"' for at in range(2_000))
    for more, taken in ((198, True), (199, False)):
        value = raw("switch.snapshot", callIds=f"[{ids}]", x=f"[{','.join(['[]'] * (more - 1))}]")
        assert len(value) > 65_536
        assert ("too_large" not in counted(value)) == taken
        assert counted(value) == recounted(value)


LONG: Final = 4 * STEP_MAX
"""No value takes so long to read, in the unit of STEP_MAX. The slowest are arrays of 250,000 ids: some 1.7."""


@pytest.mark.parametrize("place", ["callIds", "x", "id"])
@pytest.mark.parametrize("element", ["[]", "{}", '"a"', "1.2345678901234567e-308", "1" * 4_000])
@pytest.mark.parametrize("ts", [f"{TS}", f'"{TS}"', "1e999"])
def test_no_long_value_takes_long(place: str, element: str, ts: str) -> None:
    """A snapshot of 1 MiB, good or bad, is read without objects of what is unknown, and without a loop over its ids."""
    array = f"[{','.join(repeat(element, 1_000_000 // (len(element) + 1)))}]"
    value = raw("switch.snapshot", ts=ts, **{place: array})
    best = 1e9
    for _ in range(3):
        began = time.thread_time()
        with suppress(BadEvent):
            parse(value)
        best = min(best, time.thread_time() - began)
    assert best / unit_s() < LONG
