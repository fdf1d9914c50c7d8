"""What the recount forgets of an account, how it takes records that no broker stamped, and how fast it is."""

from __future__ import annotations

import pytest

from ecounters.recount.call import Limits
from ecounters.recount.parse import partition_of
from ecounters.recount.recount import Recount
from tests.support.builders import T0_MS, CallScript, Event, call, encoded, event
from tests.unit.recount.recounted_log import DAY_S, HOUR_S, Recounted, recounted


def tick(at: float) -> Event:
    """An event of another user, which moves the watermark."""
    return event("balance.updated", at, "ticker", balance=0)


def balance(at: float, call_balance: float | None = None) -> Event:
    """The balance of u1: 7."""
    return event("balance.updated", at, balance=7, callBalance=call_balance)


# ------------------------------------------------------------------------------------------------------- erased


def test_an_erased_account_counts_anew() -> None:
    """Calls, counts, numbers and balances are gone; what comes later is counted; other accounts stay."""
    log = recounted(
        balance(0, 3), call("a").started(0, number="+1"), call("b").started(1, number="+2").ended(2),
        call("c", "u2").started(3, number="+1"), event("account.erased", 60),
    )  # fmt: skip
    assert log.counted("TC", "LCT", "freshCall", "ucBl", "cBl", "CST") == (0, {}, 0, 0, 0, {})
    assert (log.counted("TC", user="u2"), log.recount.kept("u1"), log.recount.users()) == ((1,), [], ["u2"])
    assert log.recount.watermark == T0_MS + 60_000
    log.take(call("d").started(61, number="+1"))
    assert log.counted("TC", "freshCall", "repeatCall") == (1, 1, 0)


def test_events_of_an_erased_call_are_of_an_unknown_call() -> None:
    """They wait for a start, or are late."""
    log = recounted(call("a").started(0), event("account.erased", 60), call("a").answered(61))
    assert (log.counted("TC"), log.recount.kept("u1")) == ((0,), ["a"])
    log = recounted(call("a").started(0), event("account.erased", 900))
    assert log.refused(call("a").answered(0)) == [("late", "ts")]


def test_an_erasure_needs_a_user_and_its_own_partition() -> None:
    """It is misrouted like a balance, ahead of the clock like any event, and of no call."""
    erased = event("account.erased", 0)
    assert Recounted().refused({**erased, "userId": None}) == [("missing", "userId")]
    assert Recounted().refused({**erased, "userId": ""}) == [("empty_id", "userId")]
    assert Recounted().refused(erased, timestamp=T0_MS - 300_001) == [("clock_ahead", "ts")]
    other = Recount(1 - partition_of("u1", 2), 2)
    other.read([(0, T0_MS, encoded(erased))])
    assert (other.misrouted, other.watermark) == ([0], 0)


# ----------------------------------------------------------------------------------------------------- balances


def test_balances_of_an_account_without_anything_else_are_forgotten() -> None:
    """Row 20: when both are more than keep_days behind the watermark; for good."""
    log = recounted(balance(0, 3), balance(10), tick(10 + 400 * DAY_S))
    assert log.counted("ucBl", "cBl") == (7, 3)
    assert log.take(tick(10.001 + 400 * DAY_S)).counted("ucBl", "cBl") == (0, 0)
    assert log.take(call().started(11 + 400 * DAY_S)).counted("ucBl", "TC") == (0, 1)


def test_balances_are_forgotten_though_nobody_asked() -> None:
    """What comes later does not bring them back."""
    gone = recounted(balance(0), tick(1 + 400 * DAY_S), call().started(1 + 400 * DAY_S))
    assert gone.counted("ucBl", "TC") == (0, 1)
    kept = recounted(balance(0), tick(400 * DAY_S), call().started(1 + 400 * DAY_S))
    assert kept.counted("ucBl", "TC") == (7, 1)


@pytest.mark.parametrize("kept_for", [1, 400])
@pytest.mark.parametrize("of_call", [call().started(1), call().started(1).ended(2)])
def test_balances_stay_while_the_window_of_a_call_is_kept(kept_for: int, of_call: CallScript) -> None:
    """The window of its start, for keep_days past its end; whether the call still has a record makes no difference."""
    limits = Limits(keep_days=kept_for * DAY_S * 1000)
    end_s = 900 + kept_for * DAY_S
    log = recounted(balance(-9 * DAY_S), of_call, tick(end_s - 0.001), limits=limits)
    assert log.counted("ucBl") == (7,)
    assert log.take(tick(end_s)).counted("ucBl") == (0,)


def test_a_call_that_has_not_started_keeps_no_balances() -> None:
    """It counts nothing."""
    log = recounted(balance(-400 * DAY_S), call().ringing(-1), tick(0))
    assert log.counted("ucBl") == (7,)
    assert log.take(tick(0.001)).counted("ucBl") == (0,)


def test_an_old_balance_that_comes_late_shows_nothing() -> None:
    """It is older than all that is kept."""
    assert recounted(tick(0), balance(-400 * DAY_S)).counted("ucBl") == (7,)
    assert recounted(tick(0), balance(-0.001 - 400 * DAY_S)).counted("ucBl") == (0,)


# -------------------------------------------------------------------------------------------------- create times


def test_a_record_that_no_broker_stamped_is_never_ahead() -> None:
    """Row 8: the recount has no clock to judge by, and the clock goes on from the watermark."""
    log = Recounted()
    log.take(call().started(5_000), timestamp=0)
    assert (log.recount.arrival, log.recount.watermark) == (T0_MS + 5_000_000, T0_MS + 5_000_000)
    log.take(call().ringing(4_990), timestamp=0)
    assert log.recount.arrival == T0_MS + 5_000_000
    assert log.recount.clock_at(T0_MS + 5_000_700) == T0_MS + 5_000_700
    assert log.recount.clock_at(T0_MS) == T0_MS + 5_000_000


def test_a_refused_record_is_no_arrival() -> None:
    """With or without a stamp."""
    log = recounted(call().started(0))
    assert log.refused(b"{", timestamp=0) + log.refused(b"{") == [("not_json", "")] * 2
    assert log.recount.arrival == T0_MS
    log.take(call().ringing(1), timestamp=T0_MS + 77)
    assert log.recount.arrival == T0_MS + 77


# -------------------------------------------------------------------------------------------------------- repeats


def test_a_number_is_a_repeat_for_24_hours_in_either_direction() -> None:
    """It goes by the largest start so far, and that is remembered for 28 hours."""
    for at, counted in ((DAY_S, 1), (DAY_S + 0.001, 0)):
        log = recounted(call("a").started(0, number="1"), call("b").started(at, number="1"))
        assert log.counted("repeatCall", "freshCall") == (counted, 2 - counted)
        log = recounted(call("a").started(at, number="1"), call("b").ringing(at), call("b").started(0, number="1"))
        assert log.counted("repeatCall", "freshCall") == (counted, 2 - counted)
    disorder = recounted(
        call("a").started(DAY_S, number="1"), call("b").ringing(DAY_S), call("b").started(0, number="1")
    )
    assert disorder.take(call("c").started(30 * HOUR_S, number="1")).counted("repeatCall") == (2,)
    for at, counted in ((28 * HOUR_S, 1), (28 * HOUR_S + 0.001, 0)):
        log = recounted(call("a").started(0, number="1"), call("b").ringing(DAY_S + 1), tick(at))
        assert log.take(call("b").started(DAY_S, number="1")).counted("repeatCall") == (counted,)


# ---------------------------------------------------------------------------------------------------------- speed


def test_an_account_of_5_000_calls_is_read_in_seconds() -> None:
    """Snapshots that name half of them, restarts, and calls of one number."""
    log = Recounted()
    log.take(*(call(f"c{at}").started(at / 1000, switchId="s1", number="1") for at in range(5_000)))
    named = [f"c{at}" for at in range(0, 5_000, 2)]
    log.take(*(event("switch.snapshot", 10 + at, switchId="s1", callIds=named) for at in range(100)))
    log.take(*(event("switch.restarted", 10 + at, None, switchId="s2") for at in range(100, 200)))
    assert log.counted("LCT", "CST", "repeatCall") == ({"CTC": 2_500}, {"-3": 2_500}, 4_999)
