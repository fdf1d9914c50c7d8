"""Filters and series against the recount, and requests of any bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise, product
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.counters.definitions import COUNTERS, Kind
from ecounters.errors import RequestRefused
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.query.conditions import read_filter
from ecounters.query.dates import time_range
from ecounters.query.request import Query, parse_forwarded, parse_request
from ecounters.recount.filters import matches
from ecounters.recount.recount import Recount
from ecounters.reports.payload import message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS, WINDOW_MS
from ecounters.windows.dims import Dims
from ecounters.windows.steps import INTERVALS, steps
from tests.support.builders import ALL_FIELDS, T0_MS, LogRecord, answer_of, restored, roll_up
from tests.support.filter_strategies import VALUES, filters
from tests.support.log_strategies import PARTITIONS, USERS, Step, chaotic
from tests.support.request_strategies import any_json, near_queries
from tests.support.steps import STEP_MAX, longest_step

EVERYTHING = (0, 4_000_000_000_000)
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")

EVERY_DIMS = [
    (kind, campaign, did, status)
    for kind, campaign, did, status in product(
        ("IBD", "OBD", "CTC"),
        ("", "7", "-1", "spring"),
        ("", "1800", "1801", "01800"),
        (None, 16, 3, 0, -1, -2, -3),
    )
]


@settings(max_examples=250)
@given(filters)
def test_a_compiled_filter_equals_its_json_read_each_time(given_filter: list[dict[str, Any]]) -> None:
    """The predicate of a filter and a plain reading of its JSON agree for every combination of dimensions."""
    where = read_filter(given_filter)[1]
    assert where is not None
    holds = where.to_predicate()
    for dims in EVERY_DIMS:
        named = dict(zip(VALUES, dims, strict=True))
        assert holds(Dims(*dims)) == matches(given_filter, named), named


def happened(log: list[Step], partition: int, zone: ZoneInfo) -> tuple[PartitionState, Recount]:
    """A state and recount that have read a partition's log; the state was saved, restored and rolled up meanwhile."""
    state, again, records = PartitionState(partition, PARTITIONS, Policy()), Recount(partition, PARTITIONS), []
    entries: list[tuple[bytes, bytes | None]] = []
    for step in log:
        if step.partition != partition:
            continue
        if step.record is not None:
            records.append(step.record)
            _read(state, again, records)
        elif step.what == "cut":
            entries += state.take_changes()
            state = restored(entries, partition, PARTITIONS)
        elif step.what == "roll":
            for user_id in filter(state.due_for_roll_up, list(state.users)):
                roll_up(state, user_id, zone)
    state.advance(0, at_end=False)
    return state, again


def _read(state: PartitionState, again: Recount, records: list[LogRecord]) -> None:
    record = records[-1]
    state.apply([record], EVERYTHING[1])
    again.read([(record.offset, record.timestamp, record.value)])
    state.advance(0, at_end=False)


@settings(max_examples=150)
@given(chaotic(), st.lists(filters, min_size=1, max_size=3), st.integers(0, 40), st.integers(1, 400))
def test_a_filtered_reply_equals_the_recount_of_matching_calls(
    log: list[Step], asked: list[list[dict[str, Any]]], first: int, windows: int
) -> None:
    """All counters of any log and user equal the recount, for a range and for all time with days."""
    begin = T0_MS - 5 * HOUR_MS + first * WINDOW_MS
    for partition in range(PARTITIONS):
        state, again = happened(log, partition, ZoneInfo("Asia/Kolkata"))
        for user, given_filter in product(USERS, asked):
            found = state.users.get(user)
            spans = [EVERYTHING] if found and found.spans.days else [EVERYTHING, (begin, begin + windows * WINDOW_MS)]
            for span in spans:
                reply = answer_of(state, user, span, where=read_filter(given_filter)[1])
                assert reply == again.answer(user, *span, ALL_FIELDS, where=given_filter), (user, span)


ADDITIVE = [key for key, counter in COUNTERS.items() if counter.kind in (Kind.COUNT, Kind.SUM)]
MAPS = [key for key, counter in COUNTERS.items() if counter.kind in (Kind.CALL_MAP, Kind.INPUT_MAP)]


@settings(max_examples=200)
@given(
    chaotic(),
    st.none() | filters,
    st.sampled_from(sorted(INTERVALS)),
    st.sampled_from(ZONES),
    st.sampled_from(ZONES),
    st.integers(-40, 40),
    st.integers(1, 600),
)
def test_the_steps_of_a_series_add_up_to_the_reply(
    log: list[Step],
    given_filter: list[dict[str, Any]] | None,
    interval: str,
    zone_name: str,
    zone_before: str,
    first: int,
    windows: int,
) -> None:
    """Steps follow one another, cover the range, and add up; a day rolled up in another zone stays whole."""
    zone = ZoneInfo(zone_name)
    where = read_filter(given_filter)[1] if given_filter else None
    asked = T0_MS + first * WINDOW_MS, T0_MS + (first + windows) * WINDOW_MS
    for partition in range(PARTITIONS):
        state, _ = happened(log, partition, ZoneInfo(zone_before))
        for name, user in state.users.items():
            try:
                series = Series(user, asked, interval, zone, where, ALL_FIELDS)
            except RequestRefused as refused:
                assert interval != "1d" and user.spans.days[0].begin < asked[1]
                since = datetime.fromisoformat(refused.detail.split(" from ")[1].split()[0]).timestamp() * 1000
                later = int(since), int(since) + HOUR_MS
                assert Series(user, later, interval, zone, where).begin == since
                continue
            assert series.begin <= asked[0] and asked[1] <= series.end
            whole = message(totals_of(user, series.begin, series.end, where), ALL_FIELDS)
            assert _summed(series) == {key: whole[key] for key in (*ADDITIVE, *MAPS)}, name


def _summed(series: Series) -> dict[str, Any]:
    times = [one["from"] for one in series.message] + [series.message[-1]["to"]]
    assert times[1:] == [one["to"] for one in series.message]
    moments = [datetime.fromisoformat(one).timestamp() * 1000 for one in times]
    assert moments == sorted(set(moments)) and (moments[0], moments[-1]) == (series.begin, series.end)
    messages = [step["message"] for step in series.message]
    sums: dict[str, Any] = {key: sum(one[key] for one in messages) for key in ADDITIVE}
    for key in MAPS:
        total: Counter[str] = Counter()
        for one in messages:
            total.update(one[key])
        sums[key] = dict(total)
    return sums


@settings(max_examples=300)
@given(st.sampled_from(ZONES), st.integers(0, 400 * 96), st.integers(1, 1_500), st.sampled_from(sorted(INTERVALS)))
def test_steps_follow_the_zones_clocks(zone_name: str, first: int, windows: int, interval: str) -> None:
    """A step begins at a day, hour or quarter of the zone's clocks, also where these change."""
    zone = ZoneInfo(zone_name)
    begin = T0_MS + first * WINDOW_MS
    end = begin + windows * WINDOW_MS
    try:
        bounds = steps(begin, end, interval, zone)
    except RequestRefused as refused:
        assert interval == "15m" and windows > 1_000 and f"{windows} steps" in refused.detail
        return
    assert bounds[0] <= begin < bounds[1] and bounds[-2] < end <= bounds[-1]
    walls = [datetime.fromtimestamp(at / 1000, zone) for at in range(bounds[0], bounds[-1] + 1, WINDOW_MS)]
    before = datetime.fromtimestamp((bounds[0] - WINDOW_MS) / 1000, zone)
    expected = [
        int(now.timestamp() * 1000)
        for was, now in pairwise([before, *walls])
        if interval == "15m"
        or (interval == "1d" and was.date() != now.date())
        or (interval == "1h" and (now.minute == 0 or was.hour != now.hour))
    ]
    assert bounds == expected


# ------------------------------------------------------------------------------------------------- requests

_near = near_queries(st.just({"ssid": "s"}))


@settings(max_examples=800)
@given(st.binary(max_size=60) | (any_json | _near).map(lambda given: json.dumps(given).encode()), st.booleans())
def test_any_body_is_parsed_or_refused(content: bytes, series: bool) -> None:
    """parse_request raises RequestRefused and nothing else, with a short text."""
    try:
        request = parse_request(content, series=series)
    except RequestRefused as refused:
        assert refused.code in (1000, 1001, 1002)
        assert len(refused.detail) < 400, refused.detail
        assert "Traceback" not in refused.detail and "object at 0x" not in refused.detail
        json.dumps(refused.detail).encode()
        str(refused).encode()
        return
    assert type(request) is Query


@settings(max_examples=300)
@given(filters, st.sampled_from((None, "15m", "1d")), st.lists(st.sampled_from(ALL_FIELDS), max_size=4))
def test_a_forwarded_request_is_the_same_request(
    given_filter: list[dict[str, Any]], interval: str | None, fields: list[str]
) -> None:
    """A request between workers has no credentials and names the same places in errors."""
    date = {"field": "date", "op": "gte", "value": T0_MS - 3 * DAY_MS - MINUTE_MS}
    given = {"ssid": "s", "userId": "u", "token": "t", "filter": [*given_filter, date], "Field": fields}
    given |= {"interval": interval} if interval is not None else {}
    request = parse_request(json.dumps(given).encode(), series=interval is not None)
    again = parse_forwarded(msgspec.json.decode(msgspec.json.encode(request.forwarded())))
    assert (again.ssid, again.user_id, again.token) == (None, None, None)
    assert Query(
        "s", "u", "t", again.filter, again.dates, again.where, again.fields, again.interval
    ) == request  # fmt: skip
    assert again.dates[0].path == f"filter[{len(given_filter)}]"


BOMBS = [
    b"[" * 65_000,
    b'{"ssid":' * 8_000,
    b'{"ssid":"s","filter":' + b'[{"and":' * 500 + b"[]" + b"}]" * 500 + b"}",
    b'{"ssid":"s","filter":' + b'[{"not":' * 5_000,
    b'{"ssid":"s","ssid":"s"}',
    b'{"ssid":"s","\\u0073sid":"t"}',
    b'{"ssid":"s","filter":[{"field":"did","value":1,"value":2}]}',
    b"{" + b",".join(b'"k%d":1' % n for n in range(5_500)) + b',"k5499":1}',
    b'{"ssid":"s","filter":[{"field":"did","value":1e400}]}',
    b'{"ssid":"s","filter":[{"field":"did","value":' + b"9" * 60_000 + b"}]}",
    b'{"ssid":"s","filter":[{"field":"did","value":' + b"9" * 401 + b"}]}",
    b'{"ssid":"s","filter":[{"field":"date","value":' + b"9" * 401 + b"}]}",
    b'{"ssid":"s","filter":[{"field":"status","value":1e300}]}',
    b'{"ssid":"s","filter":[{"field":"did","value":"\\ud800"}]}',
    b'{"ssid":"s","filter":[{"field":"did","value":"\\udc00\\ud800"}]}',
    b'{"ssid":"s","\\ud800":1}',
    b'{"ssid":"s","filter":[NaN]}',
    b'{"ssid":"s","filter":[-Infinity]}',
    b'{"ssid":"\xff"}',
    b'{"ssid":"\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"ssid":"s"}',
    '{"ssid":"s"}'.encode("utf-16"),
    b'{"ssid":"s"}\x00',
    b'{"ssid":"s",}',
    b"{'ssid':'s'}",
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: repr(bomb[:40]))
def test_request_bombs_are_refused_at_once(bomb: bytes) -> None:
    """Huge and deep bodies are refused with 1000 in a few ms."""

    def refused() -> Iterator[None]:
        with pytest.raises(RequestRefused) as caught:
            time_range(parse_request(bomb).dates, ZoneInfo("UTC"), T0_MS, 400 * DAY_MS)
        yield
        assert caught.value.code == 1000 and len(caught.value.detail) < 400

    assert longest_step(lambda once: once.run(refused())) < STEP_MAX
