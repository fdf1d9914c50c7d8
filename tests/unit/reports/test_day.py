"""What an account's day adds up to: as a reply says, but for retries of calls that live; and no long step."""

from __future__ import annotations

from typing import Final

from ecounters.calls.live_key import LiveKey
from ecounters.partition.user import User
from ecounters.reports.day import CALL_KEYS, GHOST_RETRIES, RETRY_KEYS, DayReading
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.dims import Dims
from ecounters.windows.units import TC
from tests.support.builders import WIDE, CallScript, Feed, call, event, picked
from tests.support.spans import count_call
from tests.support.steps import STEP_MAX, Steps, longest_step

MANY: Final = 20_000


def reading_of(user: User, span: tuple[int, int] = WIDE, values_max: int = 50) -> DayReading:
    """What is read of a user, in all steps."""
    user.settle()
    reading = DayReading(*span, values_max)
    for steps in (reading.read(user), reading.add_up()):
        for _ in steps:
            pass
    return reading


def retried(call_id: str, outcomes: str, **fields: object) -> CallScript:
    """A call with one retry leg for each letter: a is answered, m missed, g ghost. It lives."""
    script = call(call_id).started(0, "OBD", **fields)
    for at, outcome in enumerate(outcomes):
        leg = f"leg{at}"
        script.dialed(1, leg, retry=1)
        if outcome != "g":
            script.ringing(2, leg, retry=1)
        if outcome == "a":
            script.answered(3, leg, retry=1)
        script.leg_ended(9, leg, retry=1)
    return script


def test_the_counts_of_ended_calls_are_those_of_a_reply() -> None:
    """Calls of every outcome; each FR_ count, and the legs of calls whose retries are all ghost."""
    feed = Feed()
    for at, outcomes in enumerate(["a", "aa", "m", "mm", "am", "g", "gg", "gm", ""]):
        feed.take(retried(f"c{at}", outcomes).ended(20))
    feed.take(call("answered").started(0, "IBD", did="1").answered(1).ended(9), call("ghost").started(0).ended(1))
    counts = reading_of(feed.state.users["u1"]).counts
    assert tuple(counts[key] for key in (*CALL_KEYS, *RETRY_KEYS)) == picked(feed, *CALL_KEYS, *RETRY_KEYS)
    assert (counts["FR_UC"], counts["FR_CM"], counts["FR_PM"], counts["FR_CA"], counts["FR_GH_UC"]) == (8, 3, 1, 2, 2)
    assert counts["FR_UC_N"] == counts["FR_CM_N"] + counts["FR_PM_N"] + counts["FR_CA_N"] + counts[GHOST_RETRIES]
    assert counts[GHOST_RETRIES] == 3


def test_retries_count_once_their_call_has_ended() -> None:
    """A live call that was missed twice counts in FR_CM of a reply, and no more after an answer: that would fall."""
    feed, live = Feed(), retried("c1", "mm")
    feed.take(live)
    counts = reading_of(feed.state.users["u1"]).counts
    assert (picked(feed, "FR_CM", "FR_UC_N"), counts["FR_CM"], counts["FR_UC_N"], counts["TC"]) == ((1, 2), 0, 0, 1)
    feed.take(*call("c1").answered(12, "leg2", retry=1).ended(30).events)
    counts = reading_of(feed.state.users["u1"]).counts
    assert (
        (counts["FR_CM"], counts["FR_PM"], counts["FR_UC_N"]) == (0, 1, 3) == picked(feed, "FR_CM", "FR_PM", "FR_UC_N")
    )


def test_live_calls_by_value_have_zeros_for_the_values_of_the_day() -> None:
    """So a graph falls to 0 and does not end; values without a call of the day or a live call have none."""
    feed = Feed()
    feed.take(call("c1").started(0, "IBD", did="1", campaignId=7).ended(9), call("c2").started(0, "OBD", did="2"))
    feed.take(event("balance.updated", 1, balance=12.5, callBalance=3))
    reading = reading_of(feed.state.users["u1"])
    assert {name: values.calls for name, values in reading.values.items()} == {
        "type": {"IBD": 0, "OBD": 1}, "campaign": {"7": 0}, "did": {"1": 0, "2": 1},
    }  # fmt: skip
    assert (reading.live, reading.balance, reading.call_balance) == (1, 12.5, 3)
    later = reading_of(feed.state.users["u1"], (WIDE[1], WIDE[1] + WINDOW_MS))
    assert (later.values["did"].calls, later.counts["TC"]) == ({"2": 1}, 0)


def test_of_many_values_those_with_the_most_calls_are_shown() -> None:
    """The others are counted."""
    feed = Feed()
    for at in range(10):
        feed.take(*(call(f"c{at}-{n}").started(0, did=str(at)) for n in range(1 + at % 5)))
    values = reading_of(feed.state.users["u1"], values_max=3).values
    assert (values["did"].calls, values["did"].left_out) == ({"3": 4, "4": 5, "9": 5}, 7)
    assert values["type"].left_out == 0


def test_no_step_is_long() -> None:
    """20,000 live calls of as many DIDs; so a fifth of the limit for 100,000 things."""

    def once(steps: Steps) -> None:
        user = User("u1")
        for n in range(MANY):
            count_call(user.spans, user.spans.cell(n % 40 * WINDOW_MS, Dims("IBD", "", str(n), None)), TC)
            user.live[LiveKey("IBD", "", str(n), "menu")] = 1
        reading = DayReading(0, 40 * WINDOW_MS, 50)
        steps.run(reading.read(user))
        steps.run(reading.add_up())
        assert reading.values["did"].left_out == MANY - 50

    assert longest_step(once) < STEP_MAX / 5
