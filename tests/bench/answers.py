"""The time that the domain takes for one reply over 10,000 cells, with filters and as a series; no process, no HTTP."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from zoneinfo import ZoneInfo

from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.query.request import parse_request
from ecounters.reports.payload import body, message
from ecounters.reports.series import Series
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.steps import STEPS_MAX
from tests.bench.report import Table, median, say
from tests.support.builders import ALL_FIELDS, T0_MS, LogRecord, call, encoded

WINDOWS: Final = 40
CELLS: Final = 10_000
TIMES: Final = 15
CAMPAIGNS: Final = 50

NOTES: Final = (
    f"one user with {CELLS:,} ended calls, each in a cell of its own: {WINDOWS} windows, {CAMPAIGNS} campaigns, "
    f"{CELLS // WINDOWS // CAMPAIGNS} DIDs of each; every call with two legs and a DTMF input",
    f"ms of processor time from the request's bytes to the answer's, {TIMES} times each; answers are not kept, but the "
    "sums of whole windows are, from the first one without a filter on: it is the longest",
)


def answers() -> Table:
    """Measure each kind of reply; returns the table."""
    say(f"a state of {CELLS:,} cells")
    user = _user()
    table = Table(
        f"answers, domain alone: {CELLS:,} cells", ("", "bytes", "median ms", "longest ms"), notes=list(NOTES)
    )
    campaigns = [{"field": "campaignId", "value": n} for n in range(30)]
    filters: dict[str, list[dict[str, Any]]] = {
        "no filter": [],
        "one campaign": [{"field": "campaignId", "value": 7}],
        "callType and not status": [
            {"field": "callType", "value": "CTC"},
            {"not": {"field": "status", "op": "in", "value": [3, 6]}},
        ],
        "1,000 DIDs": [{"field": "did", "value": [str(n) for n in range(1_000)]}],
        "32 conditions": [{"or": campaigns}, {"field": "status", "op": "ne", "value": 3}],
    }
    for name, given in filters.items():
        _add(table, name, {"filter": given}, user)
    for interval in ("15m", "1h"):
        _add(table, f"series of {interval}", {"interval": interval}, user)
    wide = (T0_MS + WINDOW_MS * (WINDOWS - STEPS_MAX), T0_MS + WINDOW_MS * WINDOWS)
    _add(table, f"series of {STEPS_MAX:,} steps, Fields", {"interval": "15m", "Field": ALL_FIELDS}, user, wide)
    return table


def _user() -> User:
    records: list[LogRecord] = []
    for n in range(CELLS):
        window, campaign = n % WINDOWS, n // WINDOWS % CAMPAIGNS
        at = window * WINDOW_MS / 1000
        one = call(f"c{n}").started(at, campaignId=str(campaign), did=str(n // WINDOWS), number=f"+1555{n}")
        one.ringing(at + 1).leg_ended(at + 9).dialed(at + 9, "2", 1).ringing(at + 10, "2").answered(at + 12, "2")
        one.dtmf(at + 15, str(n % 10)).ended(at + 60, (3, 6, 16)[n % 3])
        records += [LogRecord(0, e["ts"], encoded(e)) for e in one.events]
    records.sort(key=lambda record: record.timestamp)
    for offset, record in enumerate(records):
        record.offset = offset
    state = PartitionState(0, 1, Policy())
    refused = state.apply(records, records[-1].timestamp)
    user = state.users["u1"]
    user.settle()
    cells = sum(len(span.cells) for span in user.spans.windows.values())
    assert (len(refused), cells) == (0, CELLS), (refused[:1], cells)
    return user


def _add(
    table: Table,
    name: str,
    asked: dict[str, Any],
    user: User,
    span: tuple[int, int] = (T0_MS, T0_MS + WINDOW_MS * WINDOWS),
) -> None:
    content = json.dumps({"ssid": "s"} | asked).encode()
    make = _series if "interval" in asked else _whole
    spent, size = [], 0
    for _ in range(TIMES):
        began = time.process_time()
        size = len(make(content, user, span))
        spent.append((time.process_time() - began) * 1000)
    table.add(name, size, median(spent), max(spent))


def _whole(content: bytes, user: User, span: tuple[int, int]) -> bytes:
    request = parse_request(content)
    return body(message(totals_of(user, *span, request.where), request.fields))


def _series(content: bytes, user: User, span: tuple[int, int]) -> bytes:
    request = parse_request(content, series=True)
    return body(
        Series(user, span, request.interval or "", ZoneInfo("Asia/Kolkata"), request.where, request.fields).message
    )
