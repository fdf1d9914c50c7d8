"""Recount: the incremental counters against a recount of the log by brute force, which shares no code with them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.counters.definitions import COUNTERS, PAYLOAD
from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from ecounters.events.partitioner import partition_of
from ecounters.events.types import TYPES
from ecounters.partition.policy import Policy
from ecounters.partition.records import MISROUTED
from ecounters.partition.state import PartitionState
from ecounters.partition.user import User
from ecounters.recount import parse as recount_parse
from ecounters.recount import recount
from ecounters.recount.recount import Recount
from ecounters.simulator.world import Plan, simulate
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS, day_of
from tests.support.builders import ALL_FIELDS, T0_MS, Event, LogRecord, answer_of, call, encoded, event, restored
from tests.support.log_strategies import BROKEN, KINDS, PARTITIONS, USERS, Step, chaotic, made_event

EVERYTHING = (0, 4_000_000_000_000)
ZONES = ("UTC", "Asia/Kolkata", "America/New_York")
Span = tuple[int, int]


class Both:
    """One partition, counted by both: the incremental state, and the recount of its log."""

    def __init__(self, partition: int = 0, partitions: int = 1) -> None:
        self.state = PartitionState(partition, partitions, Policy())
        self.recount = Recount(partition, partitions)
        self.log: list[LogRecord] = []
        self.refused: list[tuple[int, str, str]] = []
        self.entries: list[tuple[bytes, bytes | None]] = []

    def take(self, *records: LogRecord) -> None:
        """Read on: the state one batch; the recount begins a bit earlier, as a worker that takes over does."""
        begin = len(self.log)
        self.log += records
        self.recount.read((one.offset, one.timestamp, one.value) for one in self.log[max(0, begin - 3) :])
        found = self.state.apply(records, records[-1].timestamp)
        self.refused += [(one.record.offset, one.reason, one.field) for one in found]

    def crash(self) -> None:
        """Save, and go on with what is read back."""
        self.entries += self.state.take_changes()
        self.state = restored(self.entries, self.state.partition, self.state.partitions)

    def differences(self, *spans: Span, users: tuple[str, ...] = USERS, wall_ms: int | None = None) -> list[str]:
        """Where the two disagree once time has passed. ``wall_ms``: the log has been read to its end at that time."""
        state, again = self.state, self.recount
        state.advance(wall_ms or 0, at_end=wall_ms is not None)
        clock = again.watermark if wall_ms is None else again.clock_at(wall_ms)
        pairs: dict[str, tuple[Any, Any]] = {
            "watermark": (state.watermark, again.watermark),
            "clock": (state.clock, clock),
            "misrouted": ([at for at, reason, _ in self.refused if reason == MISROUTED], again.misrouted),
            "refused": ([one for one in self.refused if one[1] != MISROUTED], again.refused),
        }
        for name in users:
            user = state.users.get(name) or User(name)
            kept = sorted(c.id for c in user.calls.values() if state._drop_time(c) > state.watermark)
            pairs[f"{name} suspected"] = user.suspected, again.suspected(name, clock)
            pairs[f"{name} kept"] = kept, again.kept(name)
            for span in spans or (EVERYTHING,):
                told, recounted = answer_of(state, name, span), again.answer(name, *span, ALL_FIELDS, clock)
                # As text, for the order of keys and 1 or 1.0 are part of an answer too.
                for at, (one, other) in enumerate(zip(told.items(), recounted.items(), strict=True)):
                    pairs[f"{name} {span} {at}"] = f"{one}", f"{other}"
        return [f"{what}: {ours} is recounted as {theirs}" for what, (ours, theirs) in pairs.items() if ours != theirs]


def happen(both: Both, step: Step, *, roll: bool) -> None:
    """Let a step of a drawn log happen; where time passes, both must agree at once."""
    if step.what == "event" and step.record is not None:
        both.take(step.record)
    elif step.what == "pass":
        wall = both.recount.arrival + step.number * 40 if step.number % 3 else None
        assert both.differences(wall_ms=wall) == []
    elif step.what == "cut" or (step.what == "look" and step.number % 2):
        both.crash()
    elif step.what == "look":
        answer_of(both.state, USERS[step.number % len(USERS)])
    elif step.what == "roll" and roll:
        for user_id in filter(both.state.due_for_roll_up, list(both.state.users)):
            both.state.roll_up(user_id, ZoneInfo(ZONES[step.number % len(ZONES)]))


quarter_hours = st.integers(-200, 400).map(lambda n: T0_MS + n * 15 * MINUTE_MS)


@settings(max_examples=400)
@given(chaotic(), st.lists(st.tuples(quarter_hours, quarter_hours), max_size=3), st.integers(1, 12), st.booleans())
def test_a_recount_of_any_log_gives_the_same(steps: list[Step], spans: list[Span], often: int, roll: bool) -> None:
    """All counters and fields, what is refused and why, what is suspected: of every user, in any range. Or over all
    time, where windows become days of whatever zones on the way."""
    asked = [EVERYTHING] if roll else [EVERYTHING, *spans, (T0_MS + 1, T0_MS + 16 * MINUTE_MS)]
    for partition in range(PARTITIONS):
        both = Both(partition, PARTITIONS)
        for at, step in enumerate(step for step in steps if step.partition == partition):
            happen(both, step, roll=roll)
            if at % often == 0:
                assert both.differences() == []
        assert both.differences(*asked) == []
        assert both.differences(*asked, wall_ms=both.recount.arrival + often * HOUR_MS) == []


steps_ms = st.sampled_from((0, 1, HOUR_MS, 4 * HOUR_MS - 1, 20 * HOUR_MS, DAY_MS, 28 * HOUR_MS, 28 * HOUR_MS + 1))
backs_ms = st.sampled_from((0, 1, HOUR_MS, DAY_MS - 1, DAY_MS, DAY_MS + 1, 28 * HOUR_MS, 2 * DAY_MS))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 5), steps_ms, backs_ms, st.sampled_from((72, 72, 144))), max_size=9))
def test_repeat_and_fresh_are_recounted(drawn: list[tuple[int, int, int, int]]) -> None:
    """Starts of two numbers (which the last of the four picks) about a day apart, of calls that are known by then."""
    both, now = Both(), T0_MS
    for at, (started, step, back, pick) in enumerate(drawn):
        now += step
        events = [made_event("call.heartbeat", n, 0, now, 0, f"{at}-{n}") for n in range(6)]
        events.append(made_event("call.started", started, 0, now - back, pick, f"{at}"))
        both.take(*(LogRecord(7 * at + n, now, encoded(one)) for n, one in enumerate(events)))
        assert both.differences(users=USERS[:1]) == []


of_a_call = st.tuples(
    st.sampled_from([kind for kind in KINDS if not kind.startswith(("balance.", "switch."))]),
    st.sampled_from((0, 1, 4_999, 5_000, 5_001, 20_000)),
    st.integers(0, 10**4),
)


@settings(max_examples=400)
@given(st.lists(of_a_call, min_size=9, max_size=24), st.integers(1, 9))
def test_a_call_is_recounted_in_whatever_order_its_events_come(drawn: list[tuple[str, int, int]], every: int) -> None:
    """Many events at few times: where the least time, the last IVR and the open hold matter."""
    both = Both()
    for at, (kind, after, pick) in enumerate([*drawn, ("call.started", 0, 0)]):
        one = made_event(kind, 0, 0, T0_MS + after, pick, f"{pick % 3}-{at}")
        both.take(LogRecord(at, T0_MS + HOUR_MS, encoded(one)))
        if at % every == 0 or at == len(drawn):
            assert both.differences(users=USERS[:1]) == []


SIMULATED = Plan(T0_MS, seed=7, users=6, rate_per_s=0.012, chaos=True)
"""About three days in 40,000 events, so that every limit is met."""
SIMULATED_USERS = tuple(f"u{n + 1}" for n in range(SIMULATED.users))
SIMULATED_PARTITIONS = 4


@cache
def simulated() -> tuple[tuple[LogRecord, ...], ...]:
    """The log of each partition; what has no user is in all of them."""
    logs: list[list[LogRecord]] = [[] for _ in range(SIMULATED_PARTITIONS)]
    for one in islice(simulate(SIMULATED), 40_000):
        own = None if one.user_id is None else recount_parse.partition_of(one.user_id, SIMULATED_PARTITIONS)
        for log in logs if own is None else (logs[own],):
            log.append(LogRecord(len(log), one.at_ms, one.value))
    return tuple(tuple(log) for log in logs)


def test_a_recount_of_simulated_switches_gives_the_same() -> None:
    """Days of several users with all that goes wrong: all users, as a whole, by day, and by some windows."""
    for partition, log in enumerate(simulated()):
        both = Both(partition, SIMULATED_PARTITIONS)
        for begin in range(0, len(log), 1500):
            both.take(*log[begin : begin + 1500])
            if begin % 4500 == 0:
                assert both.differences(users=SIMULATED_USERS) == []
                both.crash()
        days = [(T0_MS + day * DAY_MS, T0_MS + (day + 1) * DAY_MS) for day in range(-1, 5)]
        some = [(T0_MS + at * HOUR_MS, T0_MS + at * HOUR_MS + 15 * MINUTE_MS - at) for at in (0, 1, 30, 47, 60)]
        assert both.differences(EVERYTHING, *days, *some, users=SIMULATED_USERS) == []
        assert sorted(both.state.users) == both.recount.users()
        assert both.differences(users=SIMULATED_USERS, wall_ms=log[-1].timestamp + 3 * HOUR_MS) == []


def with_long_calls(log: tuple[LogRecord, ...]) -> list[LogRecord]:
    """The log with calls in it that go on all the time; on a partition that is not their user's they are misrouted."""
    rows = [(one.timestamp, one.value) for one in log]
    for at in range(0, len(log), 100):
        ts, kind = log[at].timestamp, "dtmf.received" if at else "call.started"
        rows += [(ts, encoded(made_event(kind, 9, user, ts, at, f"long{at}"))) for user in range(len(USERS))]
    rows.sort(key=itemgetter(0))
    return [LogRecord(at, *row) for at, row in enumerate(rows)]


def test_days_that_were_rolled_up_are_the_recounted_days() -> None:
    """Windows become days of the user's zone as they grow old, and calls that go on are counted in these."""
    for partition, log in enumerate(map(with_long_calls, simulated())):
        both = Both(partition, SIMULATED_PARTITIONS)
        zone = ZoneInfo(ZONES[partition % len(ZONES)])
        for begin in range(0, len(log), 500):
            both.take(*log[begin : begin + 500])
            both.state.advance(0, at_end=False)
            for user_id in filter(both.state.due_for_roll_up, list(both.state.users)):
                both.state.roll_up(user_id, zone)
        assert all(user.spans.days for user in both.state.users.values())
        days = [day_of(T0_MS + day * DAY_MS, zone) for day in range(-1, 5)]
        assert both.differences(EVERYTHING, *days, users=SIMULATED_USERS) == []


def rows(events: list[Event]) -> list[LogRecord]:
    """A log in which each event arrives when it happens."""
    return [LogRecord(at, one["ts"], encoded(one)) for at, one in enumerate(events)]


def eventful(recounted: Callable[[list[LogRecord]], list[LogRecord]] = lambda log: log) -> Both:
    """Both have read a log in which every event matters; the recount, what that function has made of it."""
    both = Both()
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
def test_an_event_that_only_one_side_has_is_noticed(lost: int) -> None:
    """Whichever it is: a recount that agrees with whatever it is shown would prove nothing."""
    assert eventful(lambda log: log[:lost] + log[lost + 1 :]).differences()


def spoilt(log: list[LogRecord], how: str) -> list[LogRecord]:
    """The log with something in it that is a little different."""
    if how == "backwards":
        return log[::-1]
    if how == "an end that is 1 ms later":
        values = [(one.value or b"").replace(b"1773144060000", b"1773144060001") for one in log]
        return [LogRecord(one.offset, one.timestamp, value) for one, value in zip(log, values, strict=True)]
    more = call("c2").left(95, "5") if how == "an IVR that was left" else call("c9").started(-9_999)
    return [*log, *rows(more.events)]


@pytest.mark.parametrize("how", ["backwards", "an end that is 1 ms later", "an IVR that was left", "a late one"])
def test_a_log_that_differs_a_little_is_noticed(how: str) -> None:
    """In its order, in a ms, in a gauge alone, and in what is refused alone."""
    assert eventful(lambda log: spoilt(log, how)).differences()


def outcome(value: bytes | None) -> str:
    """What the package makes of a message: the fields of its type that count, or the reason and the field."""
    try:
        got: Any = parse(value)
    except BadEvent as bad:
        return repr((bad.reason, bad.field))
    found = {name: getattr(got, re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name)) for name in fields_of(got.type)}
    if "campaignId" in found:
        found["campaignId"] = got.campaign
    return repr({name: "" if read is None else read for name, read in found.items()})


def outcome_again(value: bytes | None) -> str:
    """What the recount makes of it."""
    try:
        got = recount_parse.parse(value)
    except recount_parse.Bad as bad:
        return repr((bad.reason, bad.field))
    absent = {"legId": "1", "retry": 0, "valid": True}
    return repr({name: got.get(name, absent.get(name, "")) for name in fields_of(got["type"])})


def fields_of(kind: str) -> tuple[str, ...]:
    """The fields of a type."""
    return "type", "id", "ts", "switchId", *TYPES[kind].needs, *TYPES[kind].may


WILD = (
    'null', 'true', '[]', '{}', '""', '" "', '"0"', '"-0"', '"007"', '"+1"', '"1e2"', '"1.5"', '"12"', '0', '-0',
    '-0.0', '1.0', '1e2', '12.5', '-1', '1000', '1001', '2147483647', '2147483648', '-2147483649', '1000000000000000',
    '1000000000000001', '1e15', '1e16', '1e999', '"-1.000000000000000"', '"1."', '"1234567890123456"', '9' * 128,
    '-' + '9' * 128, '9' * 129, '9' * 4300, '9' * 4301, '-' + '9' * 4300, 'NaN', '-Infinity', '01', '1.', '.5', '+1',
    '"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\ud83d\\\\\\ude00"', '"\\\\ud800"', '"\\u0000"',
    '"\x01"', '"\x7f"', '{"\\ud800":1}', '["a",""]', '["a",1]', '["a","b"]', '[1,]', '"' + 'x' * 64 + '"',
    '"' + 'x' * 65 + '"', '"' + 'é' * 128 + '"', '"' + 'é' * 129 + '"', '"IBD"', '"ibd"', '1773144000000.0',
    '"1773144000000"', '946684799999', '946684800000', '4102444799999', '4102444800000', '"2026-03-10T12:00:00Z"',
    '"2026-03-10"', '"2026-03-10 12:00:00.1239+05:30"', '"2026-03-10t12:00:00.9-23:59"', '"2026-02-30T12:00:00Z"',
    '"2026-03-10T24:00:00Z"', '"2026-03-10T12:00:60Z"', '"2026-03-10T12:00:00+24:00"', '"0001-01-01T00:00:00+14:00"',
    '"1999-12-31T23:59:59.9999Z"', '"٢٠٢٦-03-10T12:00:00Z"', '"\ufeff1"',
)  # fmt: skip
"""JSON, or nearly: what a field may be found to hold."""
NAMES = ("type", "ts", *recount_parse.READERS, "other")


@settings(max_examples=500)
@given(
    st.sampled_from(sorted(TYPES)),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(WILD)), max_size=3),
    st.none() | st.tuples(st.integers(0, 10**4), st.binary(max_size=3), st.integers(0, 3)),
)
def test_both_read_the_same_in_any_message(
    kind: str, pick: int, wild: list[tuple[str, str]], patch: tuple[int, bytes, int] | None
) -> None:
    """The same fields or the same refusal, where fields are anything, are there twice, or bytes are spoilt."""
    parts = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in made_event(kind, 0, 0, T0_MS, pick, "e").items()]
    value = ("{" + ",".join([*parts, *(f'"{name}":{text}' for name, text in wild)]) + "}").encode()
    if patch is not None:
        at, put, cut = patch[0] % len(value), *patch[1:]
        value = value[:at] + put + value[at + cut :]
    assert outcome(value) == outcome_again(value)


@pytest.mark.parametrize("kind", TYPES)
def test_both_read_the_same_in_every_field(kind: str) -> None:
    """Every type of event, with every wild value in every field, or without the field."""
    for name in NAMES:
        event = {k: v for k, v in made_event(kind, 0, 0, T0_MS, 0, "e").items() if k != name}
        values = [(json.dumps(event)[:-1] + f',"{name}":{text}}}').encode() for text in WILD]
        for value in (encoded(event), *values):
            assert outcome(value) == outcome_again(value), value


def test_both_refuse_the_same() -> None:
    """What is no object of JSON at all, or holds nothing."""
    utf_16, deep, large = "{}".encode("utf-16"), b"[" * 30_000, b" " * 65_536
    texts = b'1 "x" null NaN {"\\ud800":1} {}x \xef\xbb\xbf{} \xff'.split()
    for value in (*BROKEN, *texts, b" {} ", b"9" * 5000, utf_16, deep, large, large + b" "):
        assert outcome(value) == outcome_again(value)
        assert outcome(value).startswith("(")


def test_the_recounts_hash_is_kafkas() -> None:
    """The vectors of Kafka's own tests."""
    known = {
        "21": -973932308, "foobar": -790332482, "abc": 479470107, "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }  # fmt: skip
    assert {key: recount_parse.murmur2(key.encode()) for key in known} == known
    assert [partition_of(key, 7) for key in known] == [recount_parse.partition_of(key, 7) for key in known]


def test_the_recount_shares_no_code_with_the_package() -> None:
    """It imports the standard library and its own parts alone."""
    for path in Path(recount.__file__ or "").parent.glob("*.py"):
        found = re.findall(r"^ *(?:from|import) +([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        names = {name for name in found if not name.startswith("ecounters.recount.")}
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, names


def test_the_recount_knows_every_counter() -> None:
    """The payload's in their order, and all fields; and refuses what is none."""
    assert list(recount.PAYLOAD) == [counter.key for counter in PAYLOAD]
    assert set(COUNTERS) == recount.KEYS
    assert list(Recount().answer("nobody", *EVERYTHING, ("UC", "TC", "AC"))) == [*recount.PAYLOAD, "UC", "AC"]
    for wrong in ("XX", "MC/1", ""):
        with pytest.raises(ValueError, match="no counter"):
            Recount().calls_behind("u1", wrong, *EVERYTHING)
        with pytest.raises(ValueError, match="no counter"):
            Recount().answer("u1", *EVERYTHING, (wrong,))


def test_the_calls_behind_a_counter() -> None:
    """Of a counter, of an entry of a map, of a gauge (whatever the range), of a sum and of an average."""
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
