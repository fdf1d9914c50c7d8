"""The recount notices small differences, knows every counter, and names the calls behind a value."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecounters.counters.definitions import COUNTERS, PAYLOAD
from ecounters.events.partitioner import partition_of
from ecounters.recount import counters as recount_counters
from ecounters.recount import parse as recount_parse
from ecounters.recount import recount
from ecounters.recount.recount import Recount
from ecounters.windows.calendar import DAY_MS
from tests.support.builders import T0_MS, Event, LogRecord, call, encoded, event
from tests.support.state_and_recount import EVERYTHING, StateAndRecount


def rows(events: list[Event]) -> list[LogRecord]:
    """A log in which each event arrives when it happens."""
    return [LogRecord(at, one["ts"], encoded(one)) for at, one in enumerate(events)]


def eventful(recounted: Callable[[list[LogRecord]], list[LogRecord]] = lambda log: log) -> StateAndRecount:
    """State and recount of a log in which every event matters. ``recounted`` changes the log for the recount alone."""
    both = StateAndRecount()
    both.take(*rows(EVENTFUL))
    assert both.differences() == []
    both.recount = Recount()
    both.recount.read((at, one.timestamp, one.value) for at, one in enumerate(recounted(both.log)))
    return both


EVENTFUL = [
    *call("c0").started(0, number="+15550001111", campaignId=7, did="1800", switchId="s1").dtmf(2, "1").events,
    *call("c0").ringing(4, "1").leg_ended(9, "1").dialed(9, "2", 1).ringing(10, "2").answered(12, "2").events,
    *call("c0").held(20).resumed(30).ended(60, by="callee").events,
    *call("c1").started(70, number="+15550001111").ringing(71).ended(72, 487, "caller").events,
    *call("c2").started(80, "IBD", switchId="s1").entered(81, "5").events,
    *call("c3").started(82, "OBD", switchId="s1").add("call.forwarded", 83).add("call.transferred", 84).events,
    event("switch.snapshot", 90, switchId="s1", callIds=["c2"]),
    event("balance.updated", 91, balance=12.5, callBalance=3),
    *call("c4").started(92, "QC", switchId="s2").entered(93, "menu").events,
    event("switch.restarted", 94, None, switchId="s2"),
    *call("c5").heartbeat(95).events,
]


@pytest.mark.parametrize("lost", range(len(EVENTFUL)), ids=lambda at: f"{at}-{EVENTFUL[at]['type']}")
def test_a_missing_event_is_noticed(lost: int) -> None:
    """Leaving out any one event makes a difference to the comparison."""
    assert eventful(lambda log: log[:lost] + log[lost + 1 :]).differences()


def spoilt(log: list[LogRecord], how: str) -> list[LogRecord]:
    """The log with a small difference."""
    if how == "backwards":
        return log[::-1]
    if how == "an end that is 1 ms later":
        values = [(one.value or b"").replace(b"1773144060000", b"1773144060001") for one in log]
        return [LogRecord(one.offset, one.timestamp, value) for one, value in zip(log, values, strict=True)]
    more = call("c2").left(95, "5") if how == "an IVR that was left" else call("c9").started(-9_999)
    return [*log, *rows(more.events)]


@pytest.mark.parametrize("how", ["backwards", "an end that is 1 ms later", "an IVR that was left", "a late one"])
def test_a_slightly_different_log_is_noticed(how: str) -> None:
    """Another order, 1 ms, a gauge alone, or a refusal alone makes a difference to the comparison."""
    assert eventful(lambda log: spoilt(log, how)).differences()


def test_the_recounts_partitioner_is_kafkas() -> None:
    """murmur2 of the recount gives the vectors of Kafka's own tests."""
    known = {
        "21": -973932308, "foobar": -790332482, "abc": 479470107, "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }  # fmt: skip
    assert {key: recount_parse.murmur2(key.encode()) for key in known} == known
    assert [partition_of(key, 7) for key in known] == [recount_parse.partition_of(key, 7) for key in known]


def test_the_recount_imports_the_standard_library_alone() -> None:
    """The recount imports the standard library and its own modules."""
    for path in Path(recount.__file__ or "").parent.glob("*.py"):
        found = re.findall(r"^ *(?:from|import) +([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        names = {name for name in found if not name.startswith("ecounters.recount.")}
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, names


def test_the_recount_knows_every_counter() -> None:
    """The recount has all counters in their order, and refuses other names."""
    assert list(recount_counters.PAYLOAD) == [counter.key for counter in PAYLOAD]
    assert set(COUNTERS) == recount_counters.KEYS
    assert list(Recount().answer("nobody", *EVERYTHING, ("UC", "TC", "AC"))) == [*recount_counters.PAYLOAD, "UC", "AC"]
    for wrong in ("XX", "MC/1", ""):
        with pytest.raises(ValueError, match="no counter"):
            Recount().calls_behind("u1", wrong, *EVERYTHING)
        with pytest.raises(ValueError, match="no counter"):
            Recount().answer("u1", *EVERYTHING, (wrong,))


def test_calls_behind_lists_the_calls_of_a_counter() -> None:
    """calls_behind lists the calls of a counter, a map's entry, a gauge, a sum and an average."""
    again = eventful().recount
    window, later = (T0_MS, T0_MS + 1), (T0_MS + DAY_MS, T0_MS + 2 * DAY_MS)
    behind = {
        "TC": ["c0", "c1", "c2", "c3", "c4"], "MC": ["c1", "c4"], "CST": ["c0", "c1", "c3", "c4"], "CST/-3": ["c3"],
        "CT/CTC": ["c0", "c1"], "AC": ["c0"], "avgRingTime": ["c0", "c1"], "LCT": ["c2"], "RC": [],
        "repeatCall": ["c1"], "LIVR/5": ["c2"], "LIVR/menu": [], "FR_CAN_FR_PM_N": ["c0"], "ucBl": [], "DTMF/1": ["c0"],
    }  # fmt: skip
    assert {key: again.calls_behind("u1", key, *window) for key in behind} == behind
    assert again.calls_behind("u1", "TC", *later) == []
    assert again.calls_behind("u1", "LCT", *later) == ["c2"]
    again.read([(99, T0_MS + 2 * DAY_MS, encoded(event("balance.updated", 2 * 86_400, balance=1)))])
    assert (again.kept("u1"), again.calls_behind("u1", "CST/-1", *window)) == ([], ["c2"])
