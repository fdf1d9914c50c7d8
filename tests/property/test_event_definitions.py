"""The finer definitions of events' fields, of bounds and of erasure: state and recount, against their words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecounters.partition.policy import Policy
from ecounters.recount.call import Limits
from tests.support.builders import T0_MS, Event, LogRecord, call, encoded
from tests.support.crowds import crowd, crowds, is_too_large
from tests.support.event_strategies import values
from tests.support.log_strategies import KINDS, USERS, made_event
from tests.support.small_structures import small_calls
from tests.support.state_and_recount import EVERYTHING, StateAndRecount


def told(*events: Event, both: StateAndRecount | None = None) -> dict[str, Any]:
    """What is told of u1 after these events, in this order; state and recount must agree."""
    both = both or StateAndRecount()
    begin = len(both.log)
    both.take(*(LogRecord(begin + at, T0_MS + 10**9, encoded(one)) for at, one in enumerate(events)))
    assert both.differences(users=("u1",)) == []
    return dict(both.recount.answer("u1", *EVERYTHING))


# ---------------------------------------------------------------------------------------------------- numbers

fillers = st.text("  .-()[]{}\u00a0\u2010\u2013\u2015\u2212\t", max_size=3)
numbers = st.from_regex(r"[1-9][0-9]{4,14}", fullmatch=True)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A text as a switch may write it: fillers between its characters, a scheme, a host, parameters, space around."""
    scheme = draw(st.sampled_from(("", "tel:", "sip:", "SIPS:", "Tel:")))
    tail = draw(st.sampled_from(("", "@pbx.example.invalid;user=phone", ";phone-context=+1", "@[::1]:5060", "@")))
    around = draw(st.sampled_from(("", " ", "\t \u00a0")))
    return around + scheme + "".join(char + draw(fillers) for char in text) + tail + around


@settings(max_examples=300)
@given(numbers, st.data())
def test_one_number_in_any_spelling_is_one_number(number: str, data: st.DataObject) -> None:
    """A second call from it is a repeat, however it is written; from a number of other digits it is not."""
    first, second = (data.draw(spelled(data.draw(st.sampled_from(("+", "00"))) + number)) for _ in range(2))
    counted = told(
        *call("c1").started(0, number=first).events,
        *call("c2").started(1, number=second).events,
        *call("c3").started(2, number="+" + number + "7").events,
    )
    assert (counted["repeatCall"], counted["freshCall"]) == (1, 2)


HIDDEN = ("anonymous", "unknown", "restricted", "private", "unavailable", "withheld", "blocked", "")


@settings(max_examples=200)
@given(st.sampled_from(HIDDEN), st.sampled_from((str.lower, str.upper, str.title)), st.booleans(), st.data())
def test_a_hidden_caller_has_no_number(word: str, case: Any, plus: bool, data: st.DataObject) -> None:
    """Such calls are neither fresh nor repeats."""
    first, second = (data.draw(spelled("+" * plus + case(word))) for _ in range(2))
    calls = (*call("c1").started(0, number=first).events, *call("c2").started(1, number=second).events)
    counted = told(*calls)
    assert (counted["TC"], counted["repeatCall"], counted["freshCall"]) == (2, 0, 0)


# ------------------------------------------------------------------------------------------------------ texts

long_texts = st.tuples(st.text("aé\u4e2d", min_size=1, max_size=3), st.integers(1, 300)).map(
    lambda t: (t[0] * 300)[: t[1]]
)


@settings(max_examples=150)
@given(long_texts, long_texts)
def test_a_long_text_counts_as_its_first_128_characters(text: str, other: str) -> None:
    """Of a DID, a campaign, the IVR of an input, an outcome and whoever ended the call; ids are refused instead."""

    def of(did: str, campaign: str) -> list[Event]:
        script = call().started(0, did=did, campaignId=campaign, number=did).dtmf(1, "1", ivr=campaign)
        return script.add("leg.ended", 2, outcome=did).ended(3, by=did).events

    events, cut = of(text, other), of(text[:128], other[:128])
    assert told(*events) == told(*cut)
    both = StateAndRecount()
    told({**events[0], "callId": text}, {**events[0], "id": other}, both=both)
    too_long = [name for name, one in (("callId", text), ("id", other)) if len(one) > 128]
    assert [(reason, name) for _, reason, name in both.refused] == [("too_long", name) for name in too_long]


@settings(max_examples=150)
@given(values, st.sampled_from(("to", "cause", "nodeId", "agentId", "other")))
def test_a_field_that_no_counter_reads_may_hold_anything(value: Any, name: str) -> None:
    """The events count as without it."""
    script = call().started(0).dialed(1).ringing(2).add("call.transferred", 3).add("call.forwarded", 4).ended(5)
    with_field = [{**one, name: value} for one in script.events]
    assert [json.loads(encoded(one)) for one in with_field]
    assert told(*with_field) == told(*script.events)


@settings(max_examples=200)
@given(st.text("0123456789#*", min_size=1, max_size=40) | st.just("7" * 300), st.integers(0, 32), st.booleans())
def test_many_digits_are_kept_nowhere(digits: str, most: int, valid: bool) -> None:
    """More characters than dtmf_digits count as how many they are; no entry of the changelog has the digits."""
    both = StateAndRecount(policy=Policy(dtmf_digits=most), limits=Limits(dtmf_digits=most))
    events = call().started(0).dtmf(1, digits, valid).events
    counted = told(*({**one, "id": f"e{at}"} for at, one in enumerate(events)), both=both)
    shown = digits if len(digits) <= most else f"{len(digits)} digits"
    assert counted["DTMF"] == counted["DTMFV" if valid else "DTMFINV"] == {shown: 1}
    entries = [part for entry in both.state.take_changes() for part in entry if part is not None]
    if len(digits) > 4:  # fewer may occur by chance
        assert any(digits.encode() in part for part in entries) == (len(digits) <= most)


# ----------------------------------------------------------------------------------------------------- bounds


@pytest.fixture(scope="module")
def small_bounds() -> Iterator[Limits]:
    """Bounds that a drawn call can reach, for the state and for the recount."""
    with small_calls() as limits:
        yield limits


@settings(max_examples=120)
@given(crowds=crowds, shuffle=st.randoms(use_true_random=False), every=st.integers(1, 30))
@example(crowds=[("leg.dialed", 20)], shuffle=Random(1), every=3)
@example(crowds=[("call.held", 18), ("call.held", 18)], shuffle=Random(2), every=7)
@example(crowds=[("ivr.entered", 18), ("ivr.entered", 18)], shuffle=Random(3), every=7)
@example(crowds=[("dtmf.received", 20)], shuffle=Random(4), every=30)
def test_a_call_that_is_full_refuses_one_more_and_is_as_before(
    small_bounds: Limits, crowds: list[tuple[str, int]], shuffle: Any, every: int
) -> None:
    """The state refuses what the recount does, restored or not; a refused event changes neither counters nor time."""
    both = StateAndRecount(limits=small_bounds)
    before = told(*call("c0").started(0).events, both=both)
    events = crowd(crowds, shuffle)
    for at, one in enumerate([*events, *call("c0").ended(60).events]):
        refused, watermark = len(both.refused), both.state.watermark
        now = told(one, both=both)
        if len(both.refused) > refused:
            assert (now, both.state.watermark) == (before, watermark)
        before = now
        if at % every == 0:
            both.crash()
    assert {reason for _, reason, _ in both.refused} == ({"call_too_large"} if is_too_large(events) else set())


# --------------------------------------------------------------------------------------------------- erasure

of_accounts = st.lists(
    st.tuples(
        st.sampled_from([kind for kind in KINDS if kind != "account.erased"]),
        st.integers(0, 2),
        st.integers(0, 1),
        st.sampled_from((0, 1, 1_000, 60_000, 900_000, 7_200_000)),
        st.integers(0, 10**6),
    ),
    max_size=20,
)


def log_of(drawn: list[tuple[str, int, int, int, int]], begin_ms: int, prefix: str) -> list[Event]:
    """Events of two users, in the order of their times."""
    events = []
    for at, (kind, which, user, step, pick) in enumerate(drawn):
        begin_ms += step
        events.append(made_event(kind, which, user, begin_ms, pick, f"{prefix}{at}"))
    return events


@settings(max_examples=200)
@given(of_accounts, of_accounts, st.booleans())
def test_an_erased_account_is_as_if_it_had_never_been(
    first: list[tuple[str, int, int, int, int]], then: list[tuple[str, int, int, int, int]], restored: bool
) -> None:
    """What comes later is counted as on a partition that had no event of it; other accounts do not notice."""
    before = log_of(first, T0_MS, "a")
    now = max([one["ts"] for one in before], default=T0_MS)
    after = log_of(then, now, "b")
    erased, never = StateAndRecount(), StateAndRecount()
    _take(erased, [*before, made_event("account.erased", 0, 0, now, 0, "e")])
    if restored:
        erased.crash()
    _take(erased, after)
    others = [one for one in before if one.get("userId") != USERS[0]]
    _take(never, [*others, made_event("balance.updated", 0, 3, now, 0, "clock"), *after])
    for user in USERS[:2]:
        assert erased.recount.answer(user, *EVERYTHING) == never.recount.answer(user, *EVERYTHING)
        assert erased.recount.kept(user) == never.recount.kept(user)


def _take(both: StateAndRecount, events: list[Event]) -> None:
    begin = len(both.log)
    for at, one in enumerate(events):
        both.take(LogRecord(begin + at, one["ts"], encoded(one)))
    assert both.differences(users=USERS[:2]) == []
