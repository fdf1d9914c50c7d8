"""The order of events and duplicates, within the linger, do not matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import Event, Feed
from tests.support.counter_identities import check_identities
from tests.support.log_strategies import harmless

OF_THE_LOGS_ORDER = ("repeatCall", "freshCall")


@settings(max_examples=150)
@given(harmless(), st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_order_and_duplication_give_the_same_counters(events: list[Event], shuffle: object, every: int) -> None:
    """A shuffled and duplicated log gives the counters of the log in order."""
    straight = Feed().take(*events).pass_time()
    mixed = [*events, *events[::3], *events[::5]]
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    feed = Feed()
    for at, event in enumerate(mixed):
        feed.take(event)
        if at % every == 0:
            feed.pass_time().answer()
        if at % (every + 2) == 0:
            list(feed.state.take_changes())
    feed.pass_time()
    for user in ("u1", "u2"):
        one, other = straight.answer(user), feed.answer(user)
        check_identities(one, everything=True)
        check_identities(other, everything=True)
        for key in one:
            if key not in OF_THE_LOGS_ORDER:
                assert one[key] == other[key], key
