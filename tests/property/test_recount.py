"""The incremental counters against a recount of the log by brute force, which shares no code with them."""

from __future__ import annotations

from functools import cache
from itertools import islice
from operator import itemgetter
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.recount import parse as recount_parse
from ecounters.simulator.world import Plan, simulate
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS, day_of
from tests.support.builders import T0_MS, LogRecord, answer_of, encoded, roll_up
from tests.support.log_strategies import KINDS, OF_NO_CALL, PARTITIONS, USERS, Step, chaotic, made_event
from tests.support.state_and_recount import EVERYTHING, Span, StateAndRecount

ZONES = ("UTC", "Asia/Kolkata", "America/New_York")


def happen(both: StateAndRecount, step: Step, *, roll: bool) -> None:
    """Carry out a step of a drawn log. Where time passes, state and recount must agree at once."""
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
            roll_up(both.state, user_id, ZoneInfo(ZONES[step.number % len(ZONES)]))


quarter_hours = st.integers(-200, 400).map(lambda n: T0_MS + n * 15 * MINUTE_MS)


@settings(max_examples=400)
@given(
    chaotic(stamped=False),
    st.lists(st.tuples(quarter_hours, quarter_hours), max_size=3),
    st.integers(1, 12),
    st.booleans(),
)
def test_any_log_gives_the_counters_of_its_recount(
    steps: list[Step], spans: list[Span], often: int, roll: bool
) -> None:
    """Counters, refusals and suspected calls equal the recount, in any range, and with rolled-up days over all time."""
    asked = [EVERYTHING] if roll else [EVERYTHING, *spans, (T0_MS + 1, T0_MS + 16 * MINUTE_MS)]
    for partition in range(PARTITIONS):
        both = StateAndRecount(partition, PARTITIONS)
        for at, step in enumerate(step for step in steps if step.partition == partition):
            happen(both, step, roll=roll)
            if at % often == 0:
                assert both.differences() == []
        assert both.differences(*asked) == []
        assert both.differences(*asked, wall_ms=both.recount.arrival + often * HOUR_MS) == []


steps_ms = st.sampled_from((0, 1, HOUR_MS, 4 * HOUR_MS - 1, 20 * HOUR_MS, DAY_MS, 28 * HOUR_MS, 28 * HOUR_MS + 1))
two_numbers = st.sampled_from(("+15550001111", "0015550001111", "+15550002222"))
backs_ms = st.sampled_from((0, 1, HOUR_MS, DAY_MS - 1, DAY_MS, DAY_MS + 1, 28 * HOUR_MS, 2 * DAY_MS))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 5), steps_ms, backs_ms, two_numbers), max_size=9))
def test_repeat_and_fresh_equal_the_recount(drawn: list[tuple[int, int, int, str]]) -> None:
    """Starts of two numbers about a day apart are classified as the recount does."""
    both, now = StateAndRecount(), T0_MS
    for at, (started, step, back, number) in enumerate(drawn):
        now += step
        events = [made_event("call.heartbeat", n, 0, now, 0, f"{at}-{n}") for n in range(6)]
        events.append({**made_event("call.started", started, 0, now - back, 0, f"{at}"), "number": number})
        both.take(*(LogRecord(7 * at + n, now, encoded(one)) for n, one in enumerate(events)))
        assert both.differences(users=USERS[:1]) == []


of_a_call = st.tuples(
    st.sampled_from([kind for kind in KINDS if not kind.startswith(OF_NO_CALL)]),
    st.sampled_from((0, 1, 4_999, 5_000, 5_001, 20_000)),
    st.integers(0, 10**4),
)


@settings(max_examples=400)
@given(st.lists(of_a_call, min_size=9, max_size=24), st.integers(1, 9))
def test_a_call_in_any_order_equals_its_recount(drawn: list[tuple[str, int, int]], every: int) -> None:
    """Many events of one call at few times equal the recount, in any order."""
    both = StateAndRecount()
    for at, (kind, after, pick) in enumerate([*drawn, ("call.started", 0, 0)]):
        one = made_event(kind, 0, 0, T0_MS + after, pick, f"{pick % 3}-{at}")
        both.take(LogRecord(at, T0_MS + HOUR_MS, encoded(one)))
        if at % every == 0 or at == len(drawn):
            assert both.differences(users=USERS[:1]) == []


SIMULATED = Plan(T0_MS, seed=7, users=6, rate_per_s=0.012, chaos=True)
"""About three days in 40,000 events, so that every time limit is reached."""
SIMULATED_USERS = tuple(f"u{n + 1}" for n in range(SIMULATED.users))
SIMULATED_PARTITIONS = 4


@cache
def simulated() -> tuple[tuple[LogRecord, ...], ...]:
    """The log of each partition; events without a user are in all of them."""
    logs: list[list[LogRecord]] = [[] for _ in range(SIMULATED_PARTITIONS)]
    for one in islice(simulate(SIMULATED), 40_000):
        own = None if one.user_id is None else recount_parse.partition_of(one.user_id, SIMULATED_PARTITIONS)
        for log in logs if own is None else (logs[own],):
            log.append(LogRecord(len(log), one.at_ms, one.value))
    return tuple(tuple(log) for log in logs)


def test_simulated_switches_equal_their_recount() -> None:
    """Days of simulated calls with chaos equal the recount, as a whole, by day and by window."""
    for partition, log in enumerate(simulated()):
        both = StateAndRecount(partition, SIMULATED_PARTITIONS)
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
    """The log with calls that go on throughout; on partitions that are not their users' they are misrouted.

    No account is erased, so that each has days.
    """
    rows = [(one.timestamp, one.value) for one in log if b"account.erased" not in (one.value or b"")]
    for at in range(0, len(log), 100):
        ts, kind = log[at].timestamp, "dtmf.received" if at else "call.started"
        rows += [(ts, encoded(made_event(kind, 9, user, ts, at, f"long{at}"))) for user in range(len(USERS))]
    rows.sort(key=itemgetter(0))
    return [LogRecord(at, *row) for at, row in enumerate(rows)]


def test_rolled_up_days_equal_the_recounted_days() -> None:
    """Windows rolled up into days of the user's zone equal the recount, with calls that go on meanwhile."""
    for partition, log in enumerate(map(with_long_calls, simulated())):
        both = StateAndRecount(partition, SIMULATED_PARTITIONS)
        zone = ZoneInfo(ZONES[partition % len(ZONES)])
        for begin in range(0, len(log), 500):
            both.take(*log[begin : begin + 500])
            both.state.advance(0, at_end=False)
            for user_id in filter(both.state.due_for_roll_up, list(both.state.users)):
                roll_up(both.state, user_id, zone)
        assert all(user.spans.days for user in both.state.users.values())
        days = [day_of(T0_MS + day * DAY_MS, zone) for day in range(-1, 5)]
        assert both.differences(EVERYTHING, *days, users=SIMULATED_USERS) == []
