"""Spans and cells: where counts are, roll-up into days of a zone, retention."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import DAY_MS, WINDOW_MS, day_of
from ecounters.windows.dims import Dims
from ecounters.windows.restoring import restore_cell
from ecounters.windows.span import FEW
from ecounters.windows.spans import Spans
from ecounters.windows.units import CHSR, CNC, MC, TC
from tests.support.builders import T0_MS
from tests.support.spans import count_call, take_back

DIMS = Dims("IBD", "", "", None)
HOUR, DAY = 3600.0, 86_400.0
UTC_ZONE = ZoneInfo("UTC")
ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Pacific/Auckland", "Australia/Lord_Howe"]


def at(text: str) -> int:
    """ms of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def spans_with(*windows: int) -> Spans:
    """A call in each of those windows."""
    spans = Spans()
    for window in windows:
        count_call(spans, spans.cell(window, DIMS), TC)
    return spans


def calls_in(spans: Spans, begin: int, end: int) -> int:
    """The calls of the spans that share time with [begin, end)."""
    return sum(cell.counts.get("TC", 0) for span in spans.within(begin, end) for cell in span.cells.values())


def changes(spans: Spans) -> list[tuple[int, int, object, bool]]:
    """What is to be saved of whole cells: (begin, end, counts, whether it is still there)."""
    return [
        (cell.begin, cell.end, dict(cell.counts) if there else None, there)
        for cell, slot, there in spans.take_changes()
        if not slot
    ]


def roll_up(spans: Spans, zone: ZoneInfo, keep_from: int) -> None:
    """All steps of a roll-up."""
    for _ in spans.roll_up(zone, keep_from):
        pass


def forget(spans: Spans, before: int) -> None:
    """All steps of forgetting."""
    for _ in spans.forget(before):
        pass


def test_counts_hold_no_zeros_and_cells_that_empty_are_gone() -> None:
    """What is taken back leaves nothing behind, in memory or in the changelog."""
    spans = Spans()
    cell = spans.cell(0, DIMS)
    count_call(spans, cell, TC, ("ringTime", 0))
    assert cell.counts == {"TC": 1}
    assert changes(spans) == [(0, WINDOW_MS, {"TC": 1}, True)]
    take_back(spans, cell, TC, ("ringTime", 0))
    assert cell.counts == {}
    assert changes(spans) == [(0, WINDOW_MS, None, False)]
    count_call(spans, cell, TC)
    take_back(spans, cell, TC)
    assert changes(spans) == []


def test_a_change_replaces_what_a_call_added() -> None:
    """Units that it had and has are left, others are added or taken back; ring times are differences."""
    spans = Spans()
    cell = spans.cell(T0_MS, DIMS)
    spans.change(cell, 0, TC | MC | CHSR, (), ("DTMF/1", 1, "holdTime", 500), 4_000, 2)
    spans.change(cell, 0, TC | MC, (), (), 1_000, 1)
    spans.change(cell, TC | MC | CHSR, TC | CNC, ("DTMF/1", 1, "holdTime", 500), ("holdTime", 700), -1_500, -1)
    assert cell.counts == {"TC": 2, "MC": 1, "CNC": 1, "ringTime": 3_500, "rings": 2, "holdTime": 700}
    spans.change(cell, TC | CNC, 0, ("holdTime", 700), (), -2_500, -1)
    assert cell.counts == {"TC": 1, "MC": 1, "ringTime": 1_000, "rings": 1}


def test_changes_are_taken_once() -> None:
    """A cell that changed often is saved once for each flush, and not at all if it did not change."""
    spans = spans_with(0, 0, 0, WINDOW_MS)
    assert sorted(changes(spans)) == [(0, WINDOW_MS, {"TC": 3}, True), (WINDOW_MS, 2 * WINDOW_MS, {"TC": 1}, True)]
    assert changes(spans) == []


#         0    W    2W   3W   4W
#         |-1--|----|-1--|-1--|
#          [====)                  both ways of finding them, by window and by span
@pytest.mark.parametrize(
    ("begin", "end", "calls"),
    [(0, 1, 1), (1, 2, 0), (0, 4, 3), (1, 3, 1), (3, 4, 1), (4, 9, 0), (-9, 0, 0), (-999, 999, 3)],
)
def test_a_range_finds_its_windows(begin: int, end: int, calls: int) -> None:
    """Those that share time with it, no matter whether it is short or has more windows than there are."""
    spans = spans_with(0, 2 * WINDOW_MS, 3 * WINDOW_MS)
    assert calls_in(spans, begin * WINDOW_MS, end * WINDOW_MS) == calls


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("month", ["2026-03", "2026-04", "2026-10", "2026-11"])
def test_windows_become_days_of_the_zone(zone: str, month: str) -> None:
    """A month of windows, changes of clocks included, becomes the zone's days; no call is lost or counted twice."""
    here = ZoneInfo(zone)
    begin, end = day_of(at(month + "-01T12:00"), here)[0], day_of(at(month + "-28T12:00"), here)[1]
    windows = range(begin, end, WINDOW_MS)
    spans = spans_with(*windows)
    roll_up(spans, here, end)
    assert spans.windows == {}
    day_begin = begin
    for day in spans.days:
        assert (day.begin, day.end) == day_of(day_begin, here)
        assert [cell.counts["TC"] for cell in day.cells.values()] == [(day.end - day.begin) // WINDOW_MS]
        day_begin = day.end
    assert day_begin == end
    assert calls_in(spans, begin, end) == len(windows)


def test_only_days_that_are_over_are_rolled_up() -> None:
    """A day whose end is 1 ms after what may go stays as windows, and so does all that comes later."""
    begin, end = at("2026-03-01T00:00"), at("2026-03-02T00:00")
    for keep_from, days in ((end - 1, 0), (end, 1)):
        spans = spans_with(begin, end - WINDOW_MS, end, end + DAY_MS)
        roll_up(spans, UTC_ZONE, keep_from)
        assert (len(spans.days), len(spans.windows)) == (days, 4 - 2 * days)
        assert calls_in(spans, begin, end + 2 * DAY_MS) == 4


def test_the_changelog_follows_a_roll_up() -> None:
    """The windows that were saved are gone, the day is there; what was never saved needs no tombstone."""
    spans = spans_with(0)
    changes(spans)
    count_call(spans, spans.cell(WINDOW_MS, DIMS), TC)
    roll_up(spans, UTC_ZONE, DAY_MS)
    assert changes(spans) == [(0, WINDOW_MS, None, False), (0, DAY_MS, {"TC": 2}, True)]


def test_a_call_of_a_rolled_up_window_is_corrected_in_its_day() -> None:
    """Both by the cell that it was counted in and by the cell that it is counted in from now on."""
    spans = spans_with(0)
    old = spans.cell(0, DIMS)
    roll_up(spans, UTC_ZONE, DAY_MS)
    day = spans.cell(0, DIMS)
    assert day is not old and (day.begin, day.end) == (0, DAY_MS)
    take_back(spans, old, TC)
    assert day.counts == {}
    assert spans.cell(7 * WINDOW_MS, DIMS) is day


def test_a_late_window_of_a_day_goes_into_the_day() -> None:
    """A window that comes up before the first day or between two days waits for its own roll-up."""
    spans = spans_with(DAY_MS, 3 * DAY_MS)
    roll_up(spans, UTC_ZONE, 9 * DAY_MS)
    for window in (DAY_MS + WINDOW_MS, 2 * DAY_MS, 0):
        count_call(spans, spans.cell(window, DIMS), TC)
    assert sorted(spans.windows) == [0, 2 * DAY_MS]
    roll_up(spans, UTC_ZONE, 9 * DAY_MS)
    assert [(day.begin // DAY_MS, day.end // DAY_MS) for day in spans.days] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert calls_in(spans, 0, 9 * DAY_MS) == 5


@pytest.mark.parametrize(("first", "then"), [(a, b) for a in ZONES for b in ZONES if a != b])
def test_a_change_of_zone_leaves_no_gap_and_no_overlap(first: str, then: str) -> None:
    """What is a day already stays one; days of the new zone take what is left beside it."""
    begin = at("2026-03-01T00:00")
    windows = range(begin, begin + 6 * DAY_MS, WINDOW_MS)
    spans = spans_with(*windows)
    roll_up(spans, ZoneInfo(first), begin + 3 * DAY_MS)
    roll_up(spans, ZoneInfo(then), begin + 9 * DAY_MS)
    assert calls_in(spans, begin - DAY_MS, begin + 9 * DAY_MS) == len(windows)
    for before, after in zip(spans.days, spans.days[1:], strict=False):
        assert before.begin < before.end == after.begin < after.end
        assert after.begin % WINDOW_MS == 0


@pytest.mark.parametrize(("first", "then"), [("Asia/Kathmandu", "Asia/Kolkata"), ("Asia/Kolkata", "Asia/Kathmandu")])
def test_a_rest_of_a_day_as_long_as_a_window_survives_a_restart(first: str, then: str) -> None:
    """Two zones that are 15 minutes apart leave such a rest; it is counted once, however it is saved and read."""
    begin = at("2026-03-01T00:00")
    windows = range(begin, begin + 6 * DAY_MS, WINDOW_MS)
    spans = spans_with(*windows)
    log: list[tuple[int, int, Dims, dict[str, int] | None]] = []
    for zone, keep_from in ((first, 3), (then, 4), (first, 5), (then, 9)):
        roll_up(spans, ZoneInfo(zone), begin + keep_from * DAY_MS)
        log += [
            (cell.begin, cell.end, cell.dims, dict(cell.counts) if there else None)
            for cell, _, there in spans.take_changes()
        ]
        for entries in (log, list({entry[:3]: entry for entry in log}.values())):
            spans = Spans()
            for entry_begin, end, dims, counts in entries:
                restore_cell(spans, entry_begin, end, dims, counts and dict(counts))
            assert calls_in(spans, begin - DAY_MS, begin + 9 * DAY_MS) == len(windows)
    assert WINDOW_MS in {entry[1] - entry[0] for entry in log if entry[3] is not None}


def test_what_is_out_of_retention_is_forgotten() -> None:
    """Spans that were over go, one that is not over stays; calls that still change there are counted no more."""
    spans = spans_with(0, WINDOW_MS, 3 * DAY_MS)
    old = spans.cell(0, DIMS)
    changes(spans)
    forget(spans, WINDOW_MS)
    assert sorted(spans.windows) == [WINDOW_MS, 3 * DAY_MS]
    assert changes(spans) == [(0, WINDOW_MS, None, False)]
    take_back(spans, old, TC)
    assert changes(spans) == []
    roll_up(spans, UTC_ZONE, 3 * DAY_MS)
    forget(spans, DAY_MS - 1)
    assert len(spans.days) == 1
    forget(spans, DAY_MS)
    assert (len(spans.days), calls_in(spans, 0, 9 * DAY_MS)) == (0, 1)


def test_the_cached_sum_of_a_span_follows_its_cells() -> None:
    """Of many cells: what is added, taken back, new, rolled up and out of retention, between two answers."""
    user = User("u1")
    spans, whole = user.spans, (T0_MS, T0_MS + 3 * DAY_MS)
    window = T0_MS - T0_MS % DAY_MS + DAY_MS
    cells = [spans.cell(window, Dims("IBD", str(n % 5), str(n), n % 3)) for n in range(2 * FEW)]
    for at, cell in enumerate(cells):
        count_call(spans, cell, TC, ("DTMF/1", at))

    def sums() -> tuple[dict[str, int], ...]:
        totals = totals_of(user, *whole)
        by = (totals.calls_by(name) for name in ("type", "campaign", "did", "status"))
        return {slot: n for slot, n in totals.counts.items() if n}, *by, dict(totals.inputs("DTMF"))

    def check() -> None:
        expected, again = sums(), User("u1")
        for span in spans.within(*whole):
            for dims, cell in span.cells.items():
                again.spans.cell(window, dims).counts = cell.counts
        user.spans, original = again.spans, user.spans
        assert sums() == expected
        user.spans = original

    check()
    assert spans.windows[window].cached_sum is not None
    count_call(spans, cells[3], TC | MC)
    count_call(spans, cells[3], TC, ("DTMF/2", 5))
    take_back(spans, cells[4], TC, ("DTMF/1", 4))
    count_call(spans, spans.cell(window, Dims("OBD", "9", "", None)), TC)
    check()
    assert sums()[2] == {"0": 8, "1": 8, "2": 8, "3": 10, "4": 7, "9": 1}
    roll_up(spans, UTC_ZONE, window + DAY_MS)
    check()
    take_back(spans, cells[3], TC | MC)
    count_call(spans, cells[5], TC)
    check()
    (day,) = spans.days
    assert day.cached_sum is not None
    forget(spans, window + DAY_MS)
    count_call(spans, cells[5], TC)
    assert sums()[0] == {}


def test_spans_of_users_are_apart() -> None:
    """Each user has spans of its own, also where the windows are the same."""
    first, other = User("a"), User("b")
    count_call(first.spans, first.spans.cell(0, DIMS), TC)
    assert (calls_in(first.spans, 0, 1), calls_in(other.spans, 0, 1)) == (1, 0)
    assert not PartitionState(0, 1, Policy()).due_for_roll_up("u1")
