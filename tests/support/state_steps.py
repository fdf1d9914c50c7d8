"""States that go through the same steps, with what can be seen of them, and changelogs as compaction leaves them."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from ecounters.changelog.entries import Entry
from ecounters.changelog.saved_call import saved_form
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.windows.cell import Cell
from tests.support.builders import ALL_FIELDS, LogRecord, answer_of, roll_up
from tests.support.counter_identities import check_identities
from tests.support.log_strategies import USERS, Step

ZONES = ("UTC", "Asia/Kolkata", "America/New_York")
FAR_MS = 2_000_000_000_000


def counts_of(cell: Cell) -> list[tuple[str, int]]:
    """The counts of a cell, sorted; whether it is split says nothing, because a state splits it when it is saved."""
    return sorted({**cell.counts, **(cell.inputs.counts if cell.inputs is not None else {})}.items())


def image(state: PartitionState) -> dict[str, Any]:
    """All that can be seen of a state or decides what it will do."""
    seen: dict[str, Any] = {"position": state.position, "watermark": state.watermark, "arrival": state.arrival}
    for user_id in USERS:
        user = state.account(user_id) or User(user_id)
        message = answer_of(state, user_id, (0, 2 * FAR_MS), ALL_FIELDS)
        check_identities(message, everything=True)
        spans = [
            (span.begin, span.end, {dims: counts_of(cell) for dims, cell in span.cells.items() if not cell.empty})
            for span in (*user.spans.days, *user.spans.windows.values())
        ]
        counted = sorted((begin, end, sorted(map(str, cells.items()))) for begin, end, cells in spans if cells)
        calls = {  # a record that is due to be dropped may stay for a minute; nothing shows it
            call_id: saved_form(call)
            for call_id, call in user.calls.items()
            if state.timeouts.drop_time(call) > state.watermark
        }
        seen[user_id] = (message, user.suspected, calls, counted, user.balance, user.call_balance)
    return seen


def do(state: PartitionState, step: Step, log: list[LogRecord], entries: list[Entry] | None) -> None:
    """Carry out a step on one partition's state. Flushes add to ``entries``, if there is a changelog."""
    if step.what == "event" and step.record is not None:
        log.append(step.record)
        state.apply([step.record], FAR_MS)
    elif step.what == "pass" and log:
        state.advance(newest(log) + step.number * 40, at_end=step.number % 3 > 0)
    elif step.what == "look":
        image(state)
    elif step.what == "roll":
        for user in filter(state.due_for_roll_up, list(state.users)):
            roll_up(state, user, ZoneInfo(ZONES[step.number % len(ZONES)]))
    elif step.what == "cut" and entries is not None:
        entries += state.take_changes()


def newest(log: list[LogRecord]) -> int:
    """The largest timestamp of a log, in ms; 0 if it has none."""
    return max((record.timestamp for record in log), default=0)


def compacted(entries: list[Entry]) -> list[Entry]:
    """The entries that compaction leaves: the last one of each key, in their order."""
    last = {key: at for at, (key, _) in enumerate(entries)}
    return [entry for at, entry in enumerate(entries) if last[entry[0]] == at]


def level(workers: list[PartitionState]) -> None:
    """Let time pass for all states alike, so that they must be equal."""
    for worker in workers:
        worker.advance(0, at_end=False)
    assert_same(workers)


def assert_same(workers: list[PartitionState]) -> None:
    """Assert that all states are equal."""
    expected = image(workers[0])
    for worker in workers[1:]:
        found = image(worker)
        for part, value in expected.items():
            assert found[part] == value, part
