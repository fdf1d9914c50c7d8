"""Explanations: which event counted each call, whatever the order in the log."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ecounters.recount.recount import Recount
from streams.tools.explain import CountedCall, Explained, Explanation, Question
from tests.support.builders import T0_MS, CallScript, Event, call, encoded, event

DAY_MS = 86_400_000
USER = "u1"
QUESTION = Question(USER, "MC", T0_MS - DAY_MS, T0_MS + DAY_MS)


def explained(*log: CallScript | Event, clock_s: int = 0) -> list[tuple[str, str, int, bool]]:
    """(call, type and offset of the event that counted it, whether it was silent) of the missed calls."""
    explanation = read(*log)
    clock = max(explanation.recount.watermark, T0_MS + clock_s * 1000)
    return [
        (one.call_id, one.counted_by.event["type"], one.counted_by.offset, one.silent)
        for one in calls(explanation, clock)
    ]


def read(*log: CallScript | Event) -> Explanation:
    """An explanation that has read these events in that order."""
    explanation = Explanation(Recount(0, 1), QUESTION)
    events = [one for part in log for one in (part.events if isinstance(part, CallScript) else [part])]
    for offset, logged in enumerate(events):
        explanation.read((offset, logged["ts"], encoded(logged)))
    return explanation


def calls(explanation: Explanation, clock: int) -> list[CountedCall]:
    """The missed calls, by their start."""
    return list(explanation.calls(clock))


def test_the_event_that_completes_a_call_counted_it() -> None:
    """The end, or a ringing that comes after the end."""
    assert explained(
        call("b", USER).started(1).ringing(2).ended(9),
        call("a", USER).started(0).ended(9).ringing(2),
    ) == [("a", "leg.ringing", 5, False), ("b", "call.ended", 2, False)]


def test_a_call_that_does_not_count_in_the_end_is_not_there() -> None:
    """It was missed until the answer came late."""
    assert explained(call("a", USER).started(0).ringing(1).ended(9).answered(5)) == []


def test_a_restart_counts_the_calls_that_it_ends() -> None:
    """An event of the switch, and of no call."""
    log = call("a", USER).started(0, switchId="s1").ringing(1)
    assert explained(log, event("switch.restarted", 5, USER, switchId="s1")) == [("a", "switch.restarted", 2, False)]


def test_a_silent_call_has_its_last_event() -> None:
    """No event counted it, but the time since then."""
    assert explained(call("a", USER).started(0).ringing(1), clock_s=5 * 3_600) == [("a", "leg.ringing", 1, True)]


def test_a_call_that_a_snapshot_named_was_silent_from_then_on() -> None:
    """The snapshot is the call's last sign of life, so the call was reaped at its time."""
    snapshot = event("switch.snapshot", 3_600, USER, switchId="s1", callIds=["a"])
    log = call("a", USER).started(0, switchId="s1").ringing(1)
    assert explained(log, snapshot, clock_s=4 * 3_600) == []
    assert explained(log, snapshot, clock_s=5 * 3_600) == [("a", "switch.snapshot", 2, True)]


def test_an_erased_account_has_no_calls() -> None:
    """A later call with the id of an erased one has its own start and its own event."""
    erased = event("account.erased", 10, USER)
    before = call("a", USER).started(0).ringing(1).ended(2)
    assert explained(before, erased) == []
    explanation = read(before, erased, call("a", USER).started(20).ringing(21).ended(22))
    (found,) = calls(explanation, T0_MS)
    assert (found.start_ms, found.counted_by.offset) == (T0_MS + 20_000, 6)


def test_what_is_refused_counts_nothing() -> None:
    """A record that is no event is not looked at; events of others neither."""
    explanation = read(call("x", "u2").started(0).ringing(1).ended(2))
    explanation.read((3, T0_MS, b"{"))
    assert calls(explanation, T0_MS) == []
    assert explanation.value(T0_MS) == 0


def test_an_explanation_as_lines() -> None:
    """Calls with their events, and the value with all that it is of; times are of the user's zone."""
    explanation = read(call("a", USER).started(0).ringing(1).ended(9))
    found = Explained(QUESTION, calls(explanation, T0_MS), explanation.value(T0_MS), 0, 3)
    (line,) = found.lines(ZoneInfo("UTC"))
    name, start, kind, at, _, offset = line.split("\t")
    assert (name, kind, offset) == ("a", "call.ended", "2")
    assert start[:-13] == at[:-13] and start.endswith("+00:00")
    total = found.total(ZoneInfo("UTC"))
    assert total.startswith("MC of u1 is 1, of 1 calls, from ") and total.endswith(", partition 0 up to offset 3")


def test_ids_of_events_cannot_forge_lines() -> None:
    """Line breaks, tabs, escapes and marks that turn text round are shown as escapes."""
    name = "a\tb\nc\x1b[2J\u202e"
    explanation = read(call(name, USER).started(0).ringing(1).ended(9))
    asked = Question("u\n1", "DID/\x1b", QUESTION.begin, QUESTION.end)
    found = Explained(asked, calls(explanation, T0_MS), 1, 0, 3)
    (line,) = found.lines(ZoneInfo("UTC"))
    shown = r"a\tb\nc\x1b[2J\u202e"
    columns = line.split("\t")
    assert columns[0] == shown and shown in columns[4] and len(columns) == 6
    assert line.replace("\t", "").isprintable()
    assert found.total(ZoneInfo("UTC")).startswith(r"DID/\x1b of u\n1 is 1, of 1 calls, from ")
