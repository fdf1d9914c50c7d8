"""What the two ways of the package's parser, and the recount's own parser, make of the value of a message."""

from __future__ import annotations

import re
from typing import Any

from ecounters.errors import BadEvent
from ecounters.events.campaigns import campaign_of
from ecounters.events.fields import FIELDS
from ecounters.events.numbers import number_of
from ecounters.events.parse import parse
from ecounters.events.types import TEXT_MAX, TYPES, attribute
from ecounters.recount import parse as recount_parse

REASONS = {
    "empty", "too_large", "not_json", "not_object", "missing", "wrong_type", "empty_id", "too_long", "bad_value",
    "unknown_type", "bad_ts",
}  # fmt: skip


def own_attributes(event: Any) -> dict[str, Any]:
    """The attributes of an event that count: those of its type, with "" for absent ones."""
    kind = TYPES[event.type]
    names = [attribute(name) for name in ("switchId", *kind.required, *kind.optional)]
    found = {name: campaign_of(event.campaign_id) if name == "campaign_id" else getattr(event, name) for name in names}
    return {"type": event.type, "id": event.id, "ts": event.ts} | {k: "" if v is None else v for k, v in found.items()}


def outcome(read: Any, value: bytes | None) -> Any:
    """What parsing gives: the attributes that count, or (reason, field)."""
    try:
        return own_attributes(read(value))
    except BadEvent as bad:
        assert bad.reason in REASONS
        assert bad.field in ("", "type", *FIELDS)
        return bad.reason, bad.field


CUT = {"did", "ivrId", "outcome", "endedBy"}
"""Texts that the join cuts, and the recount's parser."""


def counted(value: bytes | None) -> str:
    """The result of the package's parser: the fields that count, as they are counted, or (reason, field)."""
    try:
        got: Any = parse(value)
    except BadEvent as bad:
        return repr((bad.reason, bad.field))
    found = {name: getattr(got, re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name)) for name in fields_of(got.type)}
    if "campaignId" in found:
        found["campaignId"] = campaign_of(got.campaign_id)
    for name in CUT & found.keys() if got.type not in ("ivr.entered", "ivr.left") else ():
        found[name] = found[name][:TEXT_MAX]
    if "number" in found:
        found["number"] = number_of(found["number"])
    return repr({name: "" if read is None else read for name, read in found.items()})


def recounted(value: bytes | None) -> str:
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
    '-' + '9' * 128, '9' * 129, '9' * 4299, '9' * 4300, '9' * 4301, '-' + '9' * 4299, '-' + '9' * 4300, '9' * 40_000,
    '9' * 4400 + '.5', '9' * 4400 + 'e1', 'NaN', '-Infinity', '01', '1.', '.5', '+1',
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
