"""Filters: which calls each condition matches, and how errors name their path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.conditions import read_filter
from ecounters.query.request import parse_request
from ecounters.reports.payload import message
from ecounters.reports.totals import totals_of
from ecounters.windows.dims import Dims
from tests.support.builders import WIDE, Feed, call, event

Condition = dict[str, Any]


def feed() -> Feed:
    """Six calls, named by what sets them apart; the last two live."""
    return Feed().take(
        call("ibd").started(0, "IBD", campaignId=7, did="1800").answered(1).ended(9, 16),
        call("obd").started(1, "OBD", campaignId="spring", did="1801").entered(2, "5").dtmf(3, "1").ended(9, 3),
        call("none").started(2, "IBD").ringing(3).ended(9, 3),
        call("zero").started(3, "QC", campaignId=0, did="0").ended(9, -5),
        call("live").started(4, "IBD", campaignId=7, did="1800").entered(5, "menu"),
        call("bare").started(5, "OBD"),
        event("balance.updated", 6, balance=2.5, callBalance=7),
    )


BY_DIMS: dict[tuple[str, str, str, int | None], str] = {
    ("IBD", "7", "1800", 16): "ibd", ("OBD", "spring", "1801", 3): "obd", ("IBD", "", "", 3): "none",
    ("QC", "", "0", -5): "zero", ("IBD", "7", "1800", None): "live", ("OBD", "", "", None): "bare",
}  # fmt: skip


def counted(*conditions: Condition) -> str:
    """The names of the calls that a filter matches."""
    where = read_filter(list(conditions))[1]
    assert where is not None
    holds = where.to_predicate()
    return " ".join(name for dims, name in BY_DIMS.items() if holds(Dims(*dims)))


def of(field: str, value: Any, op: str | None = None) -> Condition:
    """A condition on one field."""
    return {"field": field, "value": value} | ({} if op is None else {"op": op})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (of("callType", "IBD"), "ibd none live"),
        (of("callType", "IBD", "eq"), "ibd none live"),
        (of("callType", "IBD", "ne"), "obd zero bare"),
        (of("callType", ["IBD", "QC"]), "ibd none zero live"),
        (of("callType", ["IBD", "QC"], "in"), "ibd none zero live"),
        (of("callType", ["IBD", "QC"], "nin"), "obd bare"),
        (of("callType", ["QC"]), "zero"),
        (of("campaignId", 7), "ibd live"),
        (of("campaignId", "7"), "ibd live"),
        (of("campaignId", "007"), "ibd live"),
        (of("campaignId", 7.0), "ibd live"),
        (of("campaignId", "7.0"), ""),
        (of("campaignId", [7, "spring"]), "ibd obd live"),
        (of("campaignId", 0), "none zero bare"),
        (of("campaignId", ["000", "-0"]), "none zero bare"),
        (of("campaignId", ""), "none zero bare"),
        (of("campaignId", "", "ne"), "ibd obd live"),
        (of("campaignId", "7", "ne"), "obd none zero bare"),
        (of("campaignId", ["", 7], "nin"), "obd"),
        (of("campaignId", "Spring"), ""),
        (of("campaignId", 10**100), ""),
        (of("did", 1800), "ibd live"),
        (of("did", "1800"), "ibd live"),
        (of("did", "01800"), ""),
        (of("did", 0), "zero"),
        (of("did", ""), "none bare"),
        (of("status", 3), "obd none"),
        (of("status", "3"), "obd none"),
        (of("status", 3.0), "obd none"),
        (of("status", [3, "16"]), "ibd obd none"),
        (of("status", -5), "zero"),
        (of("status", 3, "ne"), "ibd zero live bare"),
        (of("status", [3, 16], "nin"), "zero live bare"),
        ({"not": of("status", 3)}, "ibd zero live bare"),
        ({"and": [of("callType", "IBD"), of("status", 3)]}, "none"),
        ({"or": [of("callType", "QC"), of("status", 3)]}, "obd none zero"),
        ({"or": [of("callType", "QC")]}, "zero"),
        ({"not": {"or": [of("callType", "IBD"), of("did", "")]}}, "obd zero"),
        ({"not": {"not": of("did", "")}}, "none bare"),
        ({"and": [{"or": [of("status", 3), of("status", 16)]}, {"not": of("callType", "OBD")}]}, "ibd none"),
    ],
)  # fmt: skip
def test_each_condition(condition: Condition, expected: str) -> None:
    """Numbers and their digits are the same; "" is none; a live call has no status."""
    assert counted(condition) == expected


def test_all_conditions_of_a_filter_hold() -> None:
    """The conditions of a filter are joined by and."""
    assert counted(of("callType", "IBD"), of("campaignId", 7)) == "ibd live"
    assert counted(of("callType", "IBD"), of("campaignId", 7), of("status", 16)) == "ibd"


def test_counters_and_gauges_follow_but_balances_do_not() -> None:
    """All counters are those of the matching calls, inputs and live calls too; balances are those of the account."""
    user = feed().state.users["u1"]

    def message_of(*conditions: Condition) -> dict[str, Any]:
        return dict(message(totals_of(user, *WIDE, read_filter(list(conditions))[1])))

    whole, seven, other = message_of(), message_of(of("campaignId", 7)), message_of(of("campaignId", 7, "ne"))
    keys = ("TC", "CNC", "LCT", "RCMPID", "RC", "LIVR", "LDID", "DTMF", "CST", "cBl", "ucBl")
    assert [whole[key] for key in keys] == [
        6, 1, {"IBD": 1, "OBD": 1}, {"7": 1}, 1, {"menu": 1}, {"1800": 1}, {"1": 1}, {"-5": 1, "3": 2, "16": 1}, 7, 2.5
    ]  # fmt: skip
    assert [seven[key] for key in keys] == [
        2, 1, {"IBD": 1}, {"7": 1}, 1, {"menu": 1}, {"1800": 1}, {}, {"16": 1}, 7, 2.5
    ]  # fmt: skip
    assert [other[key] for key in keys] == [4, 0, {"OBD": 1}, {}, 0, {}, {}, {"1": 1}, {"-5": 1, "3": 2}, 7, 2.5]
    assert message_of(of("status", 16))["LCT"] == {}
    assert message_of(of("status", 16, "ne"))["LCT"] == {"IBD": 1, "OBD": 1}


def refusal(*conditions: Any) -> tuple[int, str]:
    """(code, detail) with which a filter is refused, in a request."""
    with pytest.raises(RequestRefused) as caught:
        parse_request(json.dumps({"ssid": "s", "filter": conditions}).encode())
    return caught.value.code, caught.value.detail


GOOD = of("did", "1")


@pytest.mark.parametrize(
    ("condition", "code", "detail"),
    [
        (of("did", "1", "like"), 1000, 'filter[1].op "like" is none of eq, ne, in, nin'),
        (of("did", "1", "between"), 1000, 'filter[1].op "between" is none of'),
        (of("date", "today", "ne"), 1000, 'filter[1].op "ne" is none of between,'),
        (of("DID", "1"), 1000, 'filter[1].field "DID" is none of date, callType, campaignId, did, status'),
        (of("did", "1") | {"op": 1}, 1001, "filter[1].op must be a string"),
        (of("did", ["1"], "eq"), 1001, "filter[1].value must be one value"),
        (of("did", "1", "in"), 1001, "filter[1].value must be an array"),
        (of("did", []), 1000, "filter[1].value is empty"),
        (of("did", None), 1001, "filter[1].value must be a string or a number"),
        (of("did", True), 1001, "filter[1].value must be a string or a number"),
        (of("did", ["1", True]), 1001, "filter[1].value[1] must be a string or a number"),
        (of("did", ["1", ["2"]]), 1001, "filter[1].value[1] must be a string or a number"),
        (of("did", {"a": 1}), 1001, "filter[1].value must be a string or a number"),
        (of("did", 7.5), 1000, "filter[1].value 7.5 is no whole number"),
        (of("did", 10**200), 1000, "filter[1].value 1000"),
        (of("campaignId", "x" * 129), 1000, 'filter[1].value "xxx'),
        (of("status", "abc"), 1000, 'filter[1].value "abc" is no status'),
        (of("status", ""), 1000, 'filter[1].value "" is no status'),
        (of("status", 2**31), 1000, "filter[1].value 2147483648 is no status"),
        (of("callType", "ibd"), 1000, 'filter[1].value "ibd" is none of IBD, OBD,'),
        (of("callType", 7), 1000, "filter[1].value 7 is none of IBD, OBD,"),
        ({"and": GOOD}, 1001, "filter[1].and must be an array"),
        ({"or": []}, 1000, "filter[1].or is empty"),
        ({"not": [GOOD]}, 1001, "filter[1].not must be an object"),
        ({"and": [GOOD], "or": [GOOD]}, 1000, 'filter[1] has an unknown part "or"'),
        ({"and": [GOOD]} | GOOD, 1000, 'filter[1] has an unknown part "field"'),
        ({"or": [GOOD, of("did", "1", "like")]}, 1000, 'filter[1].or[1].op "like"'),
        ({"or": [{"not": {"and": [GOOD, 7]}}]}, 1001, "filter[1].or[0].not.and[1] must be an object"),
        ({"or": [of("date", "today")]}, 1000, "filter[1].or[0].field: date can't be inside"),
        ({"not": of("date", "today")}, 1000, "filter[1].not.field: date can't be inside"),
        ({"not": {}}, 1000, "filter[1].not needs field and value"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(condition: Any, code: int, detail: str) -> None:
    """The text begins with the path of what is wrong, however deep that is."""
    actual_code, actual_detail = refusal(GOOD, condition)
    assert actual_code == code and actual_detail.startswith(detail), actual_detail
    assert len(actual_detail) < 150


def deep(levels: int) -> Condition:
    """A condition with ``levels`` nots around it."""
    return {"not": deep(levels - 1)} if levels else GOOD


def test_depth_conditions_and_values_are_limited() -> None:
    """A filter has at most 8 levels, 32 conditions and 1,000 values, nested ones included."""
    assert counted(deep(8)) == "" and counted(deep(7)) != ""
    assert refusal(deep(9)) == (1000, "filter[0]" + ".not" * 9 + " is inside of more than 8 and, or, not")
    read_filter([{"or": [GOOD] * 15}, {"and": [GOOD] * 15}])
    assert refusal({"or": [GOOD] * 15}, {"and": [GOOD] * 16}) == (1000, "filter has more than 32 conditions")
    read_filter([of("did", ["1"] * 999), {"not": GOOD}])
    assert refusal(of("did", ["1"] * 999), {"not": of("did", ["1", "2"])})[1].startswith("filter[1].not.value:")
    assert refusal(of("did", ["1"] * 1_001))[0] == 1000


def test_dates_stand_beside_other_conditions() -> None:
    """Conditions on the date are read apart from the others, and keep their path."""
    request = parse_request(json.dumps({"ssid": "s", "filter": [GOOD, of("date", "today"), of("status", 3)]}).encode())
    assert [date.path for date in request.dates] == ["filter[1]"]
    assert request.where == read_filter([GOOD, of("status", 3)])[1]
