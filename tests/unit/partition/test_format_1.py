"""A changelog of format 1, which an earlier release wrote, is read, counted by today's definitions and written anew."""

from __future__ import annotations

from typing import Any

import msgspec

from ecounters.changelog.entries import CALL, CELL, FORMAT, ITEM, NUMBER, POSITION, SLOT, Entry
from ecounters.partition.moving import position_in, settle_due
from ecounters.partition.policy import Policy
from tests.support.builders import T0_MS, LogRecord, answer_of, call, encoded, restored

ENCODE = msgspec.msgpack.encode
WINDOW = (T0_MS, T0_MS + 900_000)
BASE: list[Any] = [
    T0_MS + 9_000, T0_MS, "S", "IBD", "", "", "", "", 0, "", 0, "", None, 1, 0, None, None, None, None, 0,
]  # fmt: skip
"""A live call of format 1, with its last event 9 s after its start."""


def saved(call_id: str, **fields: Any) -> Entry:
    """The entry of a call."""
    places = {"number": 6, "end": 8, "status": 10, "ended_by": 11, "legs": 15, "holds": 16, "ivrs": 17, "dtmfs": 18}
    values = list(BASE)
    for name, value in fields.items():
        values[places[name]] = value
    return CALL + ENCODE(("u1", call_id)), ENCODE(values)


def cell(counts: dict[str, int], status: int | None = None) -> Entry:
    """The entry of a cell of the first window."""
    return CELL + ENCODE(("u1", *WINDOW, ("IBD", "", "", status))), ENCODE(counts)


def position(offset: int = 7) -> Entry:
    """The position of format 1."""
    return POSITION, ENCODE((1, offset, T0_MS + 10_000, T0_MS + 10_000))


def test_its_holds_and_ivr_entries_are_begins_and_ends() -> None:
    """Read as they were meant: on hold for 2 s, in the IVR still."""
    held = [[T0_MS + 1000, "h", True], [T0_MS + 3000, "r", False]]
    menu = [T0_MS + 1000, "e", True, "menu", T0_MS + 2000, "l", False, "menu", T0_MS + 3000, "f", True, "late"]
    entries = [saved("c1", holds=held, ivrs=menu), cell({"TC": 1, "holds": 1, "holdTime": 2000}), position()]
    state = restored(entries)
    assert (answer_of(state)["holdTime"], answer_of(state)["LIVR"]) == (2, {"late": 1})
    again = restored([*entries, *state.take_changes()])
    assert (answer_of(again), again.position) == (answer_of(state), 7)


def test_its_long_inputs_are_kept_no_longer() -> None:
    """In records and cells, and after the first flush nowhere in the changelog."""
    entries = [
        saved("c1", dtmfs={"a": [T0_MS + 1, "4815162342", True, ""], "b": [T0_MS + 2, "7", True, ""]}),
        cell({"TC": 3, "DTMF/4815162342": 2, "DTMFV/4815162342": 2, "DTMF/12345": 1, "DTMFINV/12345": 1, "DTMF/7": 1,
              "DTMFV/7": 1, "DTMFI/menu": 1}),
        position(),
    ]  # fmt: skip
    state = restored(entries)
    assert answer_of(state)["DTMF"] == {"7": 1, "10 digits": 2, "5 digits": 1}
    assert answer_of(state)["DTMFI"] == {"menu": 1}
    written = dict([*entries, *state.take_changes()])
    assert b"4815162342" not in b"".join(value or b"" for value in written.values())
    assert answer_of(restored(list(written.items()))) == answer_of(state)


def test_its_cells_with_many_inputs_are_split() -> None:
    """An entry may hold all inputs of a day; long ones are kept no longer, and short ones get entries of their own."""
    inputs = {f"DTMF/{n}": 1 for n in range(9_900, 10_100)}
    entries = [cell({"TC": 200, **inputs}), position()]
    state = restored(entries)
    assert answer_of(state)["DTMF"] == {**{str(n): 1 for n in range(9_900, 10_000)}, "5 digits": 100}
    written = dict([*entries, *state.take_changes()])
    assert [key[:1] for key in written].count(SLOT) == 101
    assert b"10099" not in b"".join(value or b"" for value in written.values()) + b"".join(written)
    assert answer_of(restored(list(written.items()))) == answer_of(state)


def test_its_numbers_are_spelled_anew() -> None:
    """So a call of today is a repeat of one that was counted before; hidden callers are forgotten."""
    numbers = {"0015550001111": T0_MS, "+1 555 000 1111": T0_MS - 5000, "anonymous": T0_MS, "+15550002222": T0_MS}
    entries = [(NUMBER + ENCODE(("u1", number)), ENCODE(ts)) for number, ts in numbers.items()]
    state = restored([*entries, position()])
    assert state.users["u1"].numbers == {"+15550001111": T0_MS, "+15550002222": T0_MS}
    written = restored([*entries, position(), *state.take_changes()])
    assert written.users["u1"].numbers == state.users["u1"].numbers


def test_calls_with_a_record_are_counted_by_todays_definitions() -> None:
    """An answer after the end, a ring after the end, a hold before the answer: later corrections take back right."""
    at = [T0_MS + 1000 * second for second in range(100)]
    legs = [["1", 0, at[3], at[10], 0]]
    crossed = saved("c1", end=at[5], status=16, ended_by="caller", legs=legs)
    late_ring = saved("c2", end=at[2], status=16, ended_by="caller", legs=[["1", 0, at[3], 0, 0]])
    held = [[at[1], "h", True], [at[61], "r", False]]
    waited = saved("c3", end=at[96], status=16, holds=held, legs=[["1", 0, 0, at[66], 0]])
    counted = {
        "TC": 3, "UC": 3, "CA": 2, "CNC": 2, "talks": 2, "MC": 1, "CHSR": 1, "CM": 1, "ringTime": 7000, "rings": 2,
        "holds": 1, "holdTime": 60_000,
    }  # fmt: skip
    state = restored([crossed, late_ring, waited, cell(counted, 16), position(0)])
    reply = answer_of(state)
    assert (reply["CNC"], reply["MC"], reply["CHSR"], reply["actualTT"]) == (1, 2, 1, 30)
    assert answer_of(restored([crossed, late_ring, waited, cell(counted, 16), *state.take_changes()])) == reply
    script = call("c1").answered(5).events + call("c2").answered(1).events
    log = [LogRecord(offset, at[99], encoded(one)) for offset, one in enumerate(script)]
    assert state.apply(log, at[99]) == []
    reply = answer_of(state)
    assert (reply["CNC"], reply["MC"], reply["CHSR"], reply["TC"]) == (3, 0, 0, 3)


def test_its_large_calls_become_large() -> None:
    """Their items are written one by one from the next change on."""
    dtmfs = {f"e{n}": [T0_MS + n, str(n % 10), True, ""] for n in range(30)}
    counts = {"TC": 1} | {f"{name}/{n}": 3 for n in range(10) for name in ("DTMF", "DTMFV")}
    state = restored([saved("c1", dtmfs=dtmfs), cell(counts), position(0)])
    before = answer_of(state)
    log = [LogRecord(0, T0_MS + 50_000, encoded(call("c1").dtmf(40, "5").events[0]))]
    assert state.apply(log, T0_MS + 50_000) == []
    inputs = before["DTMF"]
    assert isinstance(inputs, dict)
    assert answer_of(state)["DTMF"] == inputs | {"5": 4}
    assert answer_of(restored(list(state.take_changes()))) == answer_of(state)


def test_its_calls_with_many_ivr_entries_become_large() -> None:
    """However many there are, ended or not; each is an item from the first flush on."""
    menu = [value for n in range(60) for value in (T0_MS + 1000 + n, f"e{n}", n % 2 == 0, f"menu{n // 2}")]
    last = [T0_MS + 2000, "f", True, "late"]
    calls = saved("c1", ivrs=menu + last), saved("c2", ivrs=menu, end=T0_MS + 9000, status=16)
    entries = [*calls, cell({"TC": 1}), cell({"TC": 1, "MC": 1}, 16), position()]
    state = restored(entries)
    assert (answer_of(state)["LIVR"], answer_of(state)["MC"]) == ({"late": 1}, 1)
    written = list(state.take_changes())
    assert sum(key[:1] == ITEM for key, _ in written) == 121
    assert answer_of(restored([*entries, *written])) == answer_of(state)


def test_its_calls_with_many_legs_become_large() -> None:
    """With many IVR entries besides or not, and so do those with few legs and many IVR entries.

    Each leg is an item from the first flush on, and changes as before.
    """
    legs = [[str(n), 0, T0_MS + 1000 * n, 0, T0_MS + 1000 * n + 500] for n in range(1, 61)]
    menu = [value for n in range(60) for value in (T0_MS + 1000 + n, f"e{n}", n % 2 == 0, f"menu{n // 2}")]
    calls = saved("c1", legs=legs), saved("c2", legs=legs, ivrs=menu), saved("c3", legs=legs[:2], ivrs=menu)
    entries = [*calls, cell({"TC": 3, "UC": 3, "CM": 3, "ringTime": 61_000, "rings": 122}), position(0)]
    state = restored(entries)
    assert (answer_of(state)["CM"], answer_of(state)["ringTime"]) == (3, 61)
    script = call("c1").answered(80, leg="60").events + call("c3").answered(80, leg="2").events
    log = [LogRecord(offset, T0_MS + 90_000, encoded(one)) for offset, one in enumerate(script)]
    assert state.apply(log, T0_MS + 90_000) == []
    answer = answer_of(state)
    assert (answer["UC"], answer["CM"], answer["PM"], answer["CNC"]) == (3, 1, 2, 2)
    written = list(state.take_changes())
    assert sum(key[:1] == ITEM for key, _ in written) == 60 + 120 + 62
    assert answer_of(restored([*entries, *written])) == answer


def test_an_import_makes_it_one_of_today() -> None:
    """With the counters that a worker restores of it."""
    held = [[T0_MS + 1000, "h", True], [T0_MS + 3000, "r", False]]
    entries = [saved("c1", holds=held), cell({"TC": 1, "holds": 1, "holdTime": 2000}), position()]
    last = {key: value for key, value in entries if value is not None}
    settle_due(last, 0, 1, Policy())
    assert (position_in(last).format, position_in(last).position) == (FORMAT, 7)
    assert answer_of(restored(list(last.items()))) == answer_of(restored(entries))
