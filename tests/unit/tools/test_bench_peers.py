"""The comparison with other stream processors: the counting that they share, and that a wrong counter is found."""

from __future__ import annotations

import json

from tests.bench.peers.compare import Difference, Values, difference, log, of_cells, recounted
from tests.bench.peers.counting import READ, Call, apply, call_key, new_call, window_key

EVENTS = 10_000


def _cells(times: int) -> dict[str, dict[str, int]]:
    """The cells of the log when each event is delivered so many times."""
    calls: dict[str, Call] = {}
    cells: dict[str, dict[str, int]] = {}
    for message in log(EVENTS):
        event = json.loads(message.value)
        if event["type"] not in READ:
            continue
        call = calls.setdefault(call_key(event), new_call())
        for _ in range(times):
            for name, change in apply(call, event).items():
                counters = cells.setdefault(window_key(event["userId"], call), {})
                counters[name] = counters.get(name, 0) + change
    return cells


def test_the_engines_count_as_the_recount_does_however_often_an_event_comes() -> None:
    """The engines differ in how they keep calls and cells, and not in what they count."""
    expected = recounted(log(EVENTS))
    assert len(expected) > 500 and {name.partition("/")[0] for _, name in expected} >= {"LCT", "DTMF", "GHC", "MC"}
    for times in (1, 2):
        assert difference(expected, of_cells(_cells(times))) == (0, len(expected), 0)


def test_a_counter_that_is_wrong_missing_or_too_much_is_found() -> None:
    """Each counts once; how far it is from the recount counts in the sum. Live calls are added up over the windows."""
    expected: Values = {("u1|0", "TC"): 5, ("u1|0", "CT/IBD"): 5, ("u1|0", "CNC"): 2, ("u1", "LCT/IBD"): 3}
    right = {"u1|0": {"TC": 5, "CT/IBD": 5, "CNC": 2, "LCT/IBD": 1, "MC": 0}, "u1|900000": {"LCT/IBD": 2}}
    assert difference(expected, of_cells(right)) == (0, 4, 0)
    wrong = {"u1|0": {"TC": 7, "CT/IBD": 5, "GHC": 1}, "u1|900000": {"LCT/IBD": 2}}
    assert difference(expected, of_cells(wrong)) == (4, 4, 6)
    assert str(Difference(4, 4, 6)) == "4 (by 6)" and str(Difference(0, 4, 0)) == "0"
