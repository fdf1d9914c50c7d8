"""The recount's parser and the package's give the same fields or the same refusal for any message."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.errors import BadEvent
from ecounters.events.numbers import number_of
from ecounters.events.parse import parse
from ecounters.events.types import TEXT_MAX, TYPES
from ecounters.recount import parse as recount_parse
from tests.support.builders import T0_MS, encoded
from tests.support.log_strategies import BROKEN, made_event

CUT = {"did", "ivrId", "outcome", "endedBy"}
"""Texts that the join cuts, and the recount's parser."""


def outcome(value: bytes | None) -> str:
    """The result of the package's parser: the fields that count, as they are counted, or (reason, field)."""
    try:
        got: Any = parse(value)
    except BadEvent as bad:
        return repr((bad.reason, bad.field))
    found = {name: getattr(got, re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name)) for name in fields_of(got.type)}
    if "campaignId" in found:
        found["campaignId"] = got.campaign
    for name in CUT & found.keys() if got.type not in ("ivr.entered", "ivr.left") else ():
        found[name] = found[name][:TEXT_MAX]
    if "number" in found:
        found["number"] = number_of(found["number"])
    return repr({name: "" if read is None else read for name, read in found.items()})


def outcome_again(value: bytes | None) -> str:
    """The result of the recount's parser, in the same form."""
    try:
        got = recount_parse.parse(value)
    except recount_parse.Bad as bad:
        return repr((bad.reason, bad.field))
    absent = {"legId": "1", "retry": 0, "valid": True}
    return repr({name: got.get(name, absent.get(name, "")) for name in fields_of(got["type"])})


def fields_of(kind: str) -> tuple[str, ...]:
    """The fields of a type that count."""
    return "type", "id", "ts", "switchId", *TYPES[kind].required, *TYPES[kind].optional


WILD = (
    'null', 'true', '[]', '{}', '""', '" "', '"0"', '"-0"', '"007"', '"+1"', '"1e2"', '"1.5"', '"12"', '0', '-0',
    '-0.0', '1.0', '1e2', '12.5', '-1', '1000', '1001', '2147483647', '2147483648', '-2147483649', '1000000000000000',
    '1000000000000001', '1e15', '1e16', '1e999', '"-1.000000000000000"', '"1."', '"1234567890123456"', '9' * 128,
    '-' + '9' * 128, '9' * 129, '9' * 4300, '9' * 4301, '-' + '9' * 4300, 'NaN', '-Infinity', '01', '1.', '.5', '+1',
    '"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\ud83d\\\\\\ude00"', '"\\\\ud800"', '"\\u0000"',
    '"\x01"', '"\x7f"', '{"\\ud800":1}', '["a",""]', '["a",1]', '["a","b"]', '[1,]', '"' + 'x' * 64 + '"',
    '"' + 'x' * 65 + '"', '"' + 'é' * 128 + '"', '"' + 'é' * 129 + '"', '"IBD"', '"ibd"', '1773144000000.0',
    '"1773144000000"', '946684799999', '946684800000', '4102444799999', '4102444800000', '"2026-03-10T12:00:00Z"',
    '"2026-03-10"', '"2026-03-10 12:00:00.1239+05:30"', '"2026-03-10t12:00:00.9-23:59"', '"2026-02-30T12:00:00Z"',
    '"2026-03-10T24:00:00Z"', '"2026-03-10T12:00:60Z"', '"2026-03-10T12:00:00+24:00"', '"0001-01-01T00:00:00+14:00"',
    '"1999-12-31T23:59:59.9999Z"', '"٢٠٢٦-03-10T12:00:00Z"', '"\ufeff1"', '"elsewhere"', '"Anonymous"', '"+"', '"00"',
    '" SIPS:+44-20 (79).4@x;y "', '"tel:0044;x@y"', '"sip:sip:1"', '"00\u2010\u2015\u2212\u00a0[4]{4}"', '"+unKnown"',
    '"\u017fip:1"', '"bloc\u212aed"', '"' + '0' * 128 + '7"', '"sip:' + '1-' * 130 + '"', '"' + ' ' * 200 + '1"',
)  # fmt: skip
"""JSON values, valid and nearly valid, for any field."""
NAMES = ("type", "ts", *recount_parse.READERS, "to", "cause", "nodeId", "agentId", "other")


@settings(max_examples=500)
@given(
    st.sampled_from(sorted(TYPES)),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(WILD)), max_size=3),
    st.none() | st.tuples(st.integers(0, 10**4), st.binary(max_size=3), st.integers(0, 3)),
)
def test_both_parsers_agree_on_any_message(
    kind: str, pick: int, wild: list[tuple[str, str]], patch: tuple[int, bytes, int] | None
) -> None:
    """Fields or refusal are the same where fields are anything, doubled, or bytes are changed."""
    parts = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in made_event(kind, 0, 0, T0_MS, pick, "e").items()]
    value = ("{" + ",".join([*parts, *(f'"{name}":{text}' for name, text in wild)]) + "}").encode()
    if patch is not None:
        at, put, cut = patch[0] % len(value), *patch[1:]
        value = value[:at] + put + value[at + cut :]
    assert outcome(value) == outcome_again(value)


@pytest.mark.parametrize("kind", TYPES)
def test_both_parsers_agree_on_every_field(kind: str) -> None:
    """Each type of event is read alike with every odd value in every field, and without the field."""
    for name in NAMES:
        event = {k: v for k, v in made_event(kind, 0, 0, T0_MS, 0, "e").items() if k != name}
        values = [(json.dumps(event)[:-1] + f',"{name}":{text}}}').encode() for text in WILD]
        for value in (encoded(event), *values):
            assert outcome(value) == outcome_again(value), value


def test_both_parsers_refuse_the_same() -> None:
    """Messages that are no JSON object, or empty, are refused for the same reason."""
    utf_16, deep, large = "{}".encode("utf-16"), b"[" * 30_000, b" " * 65_536
    texts = b'1 "x" null NaN {"\\ud800":1} {}x \xef\xbb\xbf{} \xff'.split()
    for value in (*BROKEN, *texts, b" {} ", b"9" * 5000, utf_16, deep, large, large + b" "):
        assert outcome(value) == outcome_again(value)
        assert outcome(value).startswith("(")
