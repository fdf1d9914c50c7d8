"""Split cells: input slots with entries of their own, so that no entry of the changelog grows without limit."""

from __future__ import annotations

from itertools import permutations
from zoneinfo import ZoneInfo

import pytest

from ecounters.changelog.entries import CELL, SLOT, Entry, cell_entry, read_cell, read_slot, slot_entry
from ecounters.windows.calendar import DAY_MS, WINDOW_MS
from ecounters.windows.cell import INPUTS_MAX
from ecounters.windows.dims import Dims
from ecounters.windows.restoring import restore_cell, restore_slot
from ecounters.windows.span import FEW
from ecounters.windows.spans import WHOLE_SLOTS_MAX, Spans
from ecounters.windows.sums import Sum
from ecounters.windows.units import TC
from tests.support.spans import count_call, take_back

DIMS = Dims("IBD", "", "1800", 16)
UTC = ZoneInfo("UTC")


def press(spans: Spans, digits: str, sign: int = 1, window: int = 0, dims: Dims = DIMS) -> None:
    """A call with one DTMF input is counted, or taken back."""
    (count_call if sign > 0 else take_back)(
        spans, spans.cell(window, dims), TC, ("DTMF/" + digits, 1, "DTMFV/" + digits, 1)
    )


def press_many(spans: Spans, count: int, window: int = 0) -> None:
    """So many calls, each with an input of its own: twice as many input slots."""
    for n in range(count):
        press(spans, str(n), window=window)


def flush(spans: Spans) -> list[Entry]:
    """The entries of all changes."""
    return [
        slot_entry("u", cell, slot, gone=not exists) if slot else cell_entry("u", cell, gone=not exists)
        for cell, slot, exists in spans.take_changes()
    ]


def keys(entries: list[Entry]) -> list[tuple[str, bytes, bool]]:
    """(input slot or "", kind, whether it exists) of each entry, sorted."""
    return sorted(
        (read_slot(key, b"\x00")[4] if key[:1] == SLOT else "", key[:1], value is not None) for key, value in entries
    )


def end_of(key: bytes) -> int:
    """The end of the span that an entry belongs to."""
    return read_slot(key, b"\x00")[2] if key[:1] == SLOT else read_cell(key, b"\x80")[2]


def restored(entries: list[Entry]) -> Spans:
    """The spans that the entries give; later entries replace earlier ones, and tombstones remove them."""
    spans = Spans()
    for key, value in entries:
        if key[:1] == SLOT:
            _, begin, end, dims, slot, amount = read_slot(key, value or b"\x00")
            restore_slot(spans, begin, end, dims, slot, amount if value is not None else None)
        else:
            _, begin, end, dims, counts = read_cell(key, value or b"\x80")
            restore_cell(spans, begin, end, dims, counts if value is not None else None)
    return spans


def total(spans: Spans) -> dict[str, int]:
    """The sum of everything, without zeros."""
    found = Sum()
    for span in spans.within(-DAY_MS, 9 * DAY_MS):
        span.add_to(found)
    return {slot: amount for slot, amount in sorted(found.counts.items()) if amount}


def test_a_cell_with_few_input_slots_is_one_entry() -> None:
    """Up to INPUTS_MAX all slots are in the cell's own entry; what a worker of an older version saved is like that."""
    spans = Spans()
    press_many(spans, INPUTS_MAX // 2)
    assert keys(flush(spans)) == [("", CELL, True)]
    press(spans, "one more")
    assert [kind for _, kind, _ in keys(flush(spans))].count(SLOT) == INPUTS_MAX + 2


def test_a_key_press_in_a_split_cell_writes_the_slots_that_it_changes() -> None:
    """Not the thousands that stay as they were; a call that is taken back and added again with one more writes one."""
    spans = Spans()
    press_many(spans, 1_000)
    flush(spans)
    press(spans, "7")
    entries = flush(spans)
    assert keys(entries) == [("", CELL, True), ("DTMF/7", SLOT, True), ("DTMFV/7", SLOT, True)]
    assert sum(len(key) + len(value or b"") for key, value in entries) < 400
    cell = spans.cell(0, DIMS)
    take_back(spans, cell, TC, ("DTMF/1", 1, "DTMFV/1", 1))
    count_call(spans, cell, TC, ("DTMF/1", 1, "DTMFV/1", 1, "DTMF/new", 1))
    assert keys(flush(spans)) == [("", CELL, True), ("DTMF/new", SLOT, True)]
    assert flush(spans) == []


def test_slots_that_go_to_0_are_deleted_and_a_split_cell_stays_split() -> None:
    """Also when only one is left, and when the cell empties: then its own entry is deleted too."""
    spans = Spans()
    press_many(spans, INPUTS_MAX)
    log = flush(spans)
    for n in range(1, INPUTS_MAX):
        press(spans, str(n), -1)
    taken = flush(spans)
    assert ("", CELL, True) in keys(taken) and ("DTMF/1", SLOT, False) in keys(taken)
    assert len(taken) == 1 + 2 * (INPUTS_MAX - 1)
    assert total(restored(log + taken)) == total(spans) == {"DTMF/0": 1, "DTMFV/0": 1, "TC": 1}
    press(spans, "0", -1)
    emptied = flush(spans)
    assert keys(emptied) == [("", CELL, False), ("DTMF/0", SLOT, False), ("DTMFV/0", SLOT, False)]
    press(spans, "5")
    assert keys(flush(spans)) == [("", CELL, True), ("DTMF/5", SLOT, True), ("DTMFV/5", SLOT, True)]


@pytest.mark.parametrize("how", ["rolled up", "forgotten"])
def test_a_split_cell_that_goes_leaves_no_slot_behind(how: str) -> None:
    """Every slot that has an entry gets a tombstone, also one that was to be deleted; new ones need none."""
    spans = Spans()
    press_many(spans, INPUTS_MAX)
    log = flush(spans)
    press(spans, "0", -1)
    press(spans, "new")
    for _ in spans.roll_up(UTC, DAY_MS) if how == "rolled up" else spans.forget(WINDOW_MS):
        pass
    gone = flush(spans)
    of_window = [(key, value) for key, value in gone if end_of(key) == WINDOW_MS]
    assert {key for key, _ in of_window} == {key for key, _ in log}
    assert all(value is None for _, value in of_window)
    assert total(restored(log + gone)) == total(spans)
    assert total(spans).get("DTMF/new", 0) == (1 if how == "rolled up" else 0)


@pytest.mark.parametrize("windows", [(1_000, 1_000), (40, 40), (20, 20), (1_000, 1)])
def test_a_roll_up_of_split_and_whole_cells_keeps_every_count(windows: tuple[int, int]) -> None:
    """The day's cell is split if it has many slots; restored from the changelog it is the same."""
    spans = Spans()
    for at, count in enumerate(windows):
        press_many(spans, count, at * WINDOW_MS)
    before, log = total(spans), flush(spans)
    for _ in spans.roll_up(UTC, DAY_MS):
        assert total(spans) == before
    log += flush(spans)
    assert total(spans) == total(restored(log)) == before
    ((_, cell),) = spans.days[0].cells.items()
    assert (cell.inputs is not None) == (2 * max(windows) > INPUTS_MAX)
    assert max(len(value or b"") for _, value in log) < 4_000


def test_slots_and_their_cell_are_restored_in_any_order() -> None:
    """As the entries of a compacted changelog may come; then the cell goes on as if it had never been saved."""
    spans = Spans()
    press_many(spans, INPUTS_MAX)
    first, *slots = sorted(flush(spans), key=lambda entry: entry[0], reverse=True)
    for entries in permutations([[first], slots[:5], slots[5:]]):
        again = restored([entry for part in entries for entry in part])
        assert total(again) == total(spans)
        assert flush(again) == []
        press(again, "0")
        assert keys(flush(again)) == [("", CELL, True), ("DTMF/0", SLOT, True), ("DTMFV/0", SLOT, True)]


def test_a_whole_cell_of_an_older_version_is_read_and_split_when_it_changes() -> None:
    """All its input slots are in its entry; with the first change each of them gets an entry of its own."""
    counts = {"TC": 5_000, **{f"DTMF/{n}": 1 for n in range(5_000)}}
    spans = Spans()
    restore_cell(spans, 0, WINDOW_MS, DIMS, dict(counts))
    assert total(spans) == dict(sorted(counts.items()))
    assert flush(spans) == []
    press(spans, "0")
    entries = flush(spans)
    assert len(entries) == 1 + 5_000 + 1
    assert max(len(value or b"") for _, value in entries) < 100


def test_a_cell_that_grows_fast_is_split_before_the_flush() -> None:
    """So that no step moves more than about WHOLE_SLOTS_MAX slots."""
    spans = Spans()
    press_many(spans, WHOLE_SLOTS_MAX)
    cell = spans.cell(0, DIMS)
    assert cell.inputs is not None and len(cell.counts) == 1
    assert total(spans) == total(restored(flush(spans)))


def test_the_sum_of_many_cells_follows_those_that_are_split() -> None:
    """Cells that are split after their span has cached its sum, and that change after that."""
    spans = Spans()
    for n in range(2 * FEW):
        press(spans, "1", dims=Dims("IBD", "", str(n), None))
    assert total(spans) == {"DTMF/1": 2 * FEW, "DTMFV/1": 2 * FEW, "TC": 2 * FEW}
    press_many(spans, INPUTS_MAX)
    before = total(spans)
    flush(spans)
    assert spans.cell(0, DIMS).inputs is not None
    assert total(spans) == before
    press(spans, "1")
    press(spans, "2", -1)
    expected = before | {"DTMF/1": 2 * FEW + 2, "DTMFV/1": 2 * FEW + 2}
    del expected["DTMF/2"], expected["DTMFV/2"]
    assert total(spans) == expected


def test_a_roll_up_may_end_after_any_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day is rolled up whole or not at all: in memory, in the changelog, and for a call that changes later."""
    monkeypatch.setattr("ecounters.windows.spans.STEP", 1)
    monkeypatch.setattr("ecounters.windows.spans.SLOTS_STEP", 2)
    outcomes = set()
    for end_after in range(40):
        spans = Spans()
        for window in (0, WINDOW_MS, DAY_MS):
            press_many(spans, 2, window)
        before, log, old = total(spans), flush(spans), spans.cell(0, DIMS)
        rolling = spans.roll_up(UTC, 2 * DAY_MS)
        for _ in zip(range(end_after), rolling, strict=False):
            pass
        rolling.close()
        assert total(spans) == before
        outcomes.add((len(spans.days), len(spans.windows)))
        take_back(spans, old, TC, ("DTMF/0", 1, "DTMFV/0", 1))
        assert total(spans) == total(restored(log + flush(spans))) == before | {"TC": 5, "DTMF/0": 2, "DTMFV/0": 2}
    assert outcomes == {(0, 3), (1, 1), (2, 0)}
