"""TimerWheel: a call is taken when its minute is over, once, however it was moved before; and memory follows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecounters.calls.record import Call
from ecounters.partition.timer_wheel import BUCKET_MAX, DROP, REUSED, SILENCE, TimerWheel
from ecounters.partition.user import User
from ecounters.windows.calendar import MINUTE_MS

USER = User("u1")
FIRST_SLOTS = st.sampled_from((SILENCE, REUSED, DROP))


def calls(count: int) -> list[Call]:
    """So many calls that are in no wheel."""
    return [Call(f"c{n}", USER) for n in range(count)]


def test_calls_are_taken_in_whole_minutes_the_earliest_first() -> None:
    """A limit anywhere in a minute is met when that minute is over, not before."""
    wheel = TimerWheel(SILENCE)
    first, second, third = calls(3)
    wheel.put(second, 3 * MINUTE_MS)
    wheel.put(first, 2 * MINUTE_MS + 59_999)
    wheel.put(third, 4 * MINUTE_MS)
    assert list(wheel.take(2)) == []
    assert list(wheel.take(3)) == [first]
    assert list(wheel.take(9)) == [second, third]
    assert [len(wheel), first.timer_slot, second.timer_slot, third.timer_slot] == [0, 0, 0, 0]


def test_the_slot_names_the_wheel() -> None:
    """No two wheels have a slot in common: so a call knows which of the three it is in."""
    slots = []
    for first in (SILENCE, REUSED, DROP):
        wheel, members = TimerWheel(first), calls(3)
        for minute, one in enumerate(members):
            wheel.put(one, minute * MINUTE_MS)
        slots.append([one.timer_slot for one in members])
    assert slots == [[1, 3, 5], [-1, -3, -5], [-2, -4, -6]]


def test_a_bucket_that_is_more_than_half_stale_is_compacted() -> None:
    """A limit that is hours away does not keep a call in memory that has left the wheel."""
    wheel = TimerWheel(SILENCE)
    stays, *others = calls(3)
    for call in (stays, *others):
        wheel.put(call, 9 * MINUTE_MS)
    in_memory = []
    for call in others:
        wheel.remove(call)
        in_memory.append(len(wheel._by_minute[9][0].calls))
    assert in_memory == [3, 1]
    assert list(wheel.take(10)) == [stays]


def test_a_minute_with_many_calls_has_many_buckets() -> None:
    """No bucket is large, so no step is long; all of them are taken, each call once, also one that is put back."""
    wheel, many = TimerWheel(SILENCE), calls(2 * BUCKET_MAX + 1)
    for call in many:
        wheel.put(call, 9 * MINUTE_MS)
    assert [len(bucket.calls) for bucket in wheel._by_minute[9]] == [BUCKET_MAX, BUCKET_MAX, 1]
    wheel.remove(many[0])
    taken = []
    for call in wheel.take(10):
        wheel.put(call, 9 * MINUTE_MS)
        taken.append(call)
    assert taken == many[1:]
    assert len(wheel) == 2 * BUCKET_MAX


@given(FIRST_SLOTS, st.lists(st.tuples(st.sampled_from("pmt"), st.integers(0, 5), st.integers(1, 4)), max_size=60))
def test_a_wheel_is_a_table_of_minutes(first: int, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is put, moved and taken: each call is taken once, and len counts those that are left."""
    wheel, members = TimerWheel(first), calls(6)
    minute_of: dict[str, int] = {}
    for step, index, minute in steps:
        call = members[index]
        if step == "t":
            due = {call_id for call_id, at in minute_of.items() if at < minute}
            assert sorted(taken.id for taken in wheel.take(minute)) == sorted(due)
            minute_of = {call_id: at for call_id, at in minute_of.items() if call_id not in due}
        else:
            if call.id in minute_of:
                wheel.remove(call)
                del minute_of[call.id]
            if step == "p":
                wheel.put(call, minute * MINUTE_MS)
                minute_of[call.id] = minute
        assert {member.id for member in members if member.timer_slot * first > 0} == set(minute_of)
        assert len(wheel) == len(minute_of)
