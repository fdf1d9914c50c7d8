"""Large replies: no step takes long, whatever the account has; and which replies are small."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from ecounters.calls.live_key import LiveKey
from ecounters.native import COMPILED
from ecounters.partition.user import User
from ecounters.query.conditions import read_filter
from ecounters.reports.large import SMALL_STEPS, LargeReply, is_small_reply
from ecounters.reports.payload import body, message
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import WINDOW_MS
from ecounters.windows.dims import Dims
from ecounters.windows.steps import STEPS_MAX
from ecounters.windows.units import FRESHCALL, TC
from tests.support.spans import count_call
from tests.support.steps import STEP_MAX, Steps, longest_step

MANY: Final = 100_000
UTC: Final = ZoneInfo("UTC")
WINDOWS: Final = 40
RANGE: Final = (0, WINDOWS * WINDOW_MS)


def account(*, dids: int = 0, inputs: int = 0, windows: int = WINDOWS) -> User:
    """An account with as many cells and live calls, and input slots of one cell, in so many windows."""
    user = User("u1")
    for n in range(dids):
        cell = user.spans.cell(n % windows * WINDOW_MS, Dims("IBD", str(n % 50), str(n), None))
        count_call(user.spans, cell, TC | FRESHCALL, ("ringTime", 5, "rings", 1))
        user.live[LiveKey("IBD", str(n % 50), str(n), "menu")] = 1
    for n in range(inputs):
        cell = user.spans.cell(0, Dims("OBD", "", "", 16))
        count_call(user.spans, cell, TC, (f"DTMF/{n}", 1, f"DTMFV/{n}", 1))
    return user


FILTERS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "all match": [{"field": "callType", "value": ["IBD", "OBD"]}],
    "slow": [{"or": [{"field": "campaignId", "value": n} for n in range(100, 130)]}],
}


@pytest.mark.parametrize("what", ["dids in 40 windows", "dids in one window", "inputs"])
@pytest.mark.parametrize("name", FILTERS)
def test_no_step_of_a_large_reply_is_long(what: str, name: str) -> None:
    """100,000 DIDs live, as many cells, or as many inputs; with a filter that matches all, and one of 30 conditions."""
    where = read_filter(FILTERS[name])[1] if FILTERS[name] else None
    user, parts = User("u1"), list[bytes]()

    def once(steps: Steps) -> None:
        nonlocal user
        user = account(inputs=MANY) if what == "inputs" else account(dids=MANY, windows=1 if "one" in what else WINDOWS)
        parts.clear()
        large = LargeReply(RANGE, where, (), None, UTC)
        steps.run(chain(large.look_at(user), large.read(user)))
        steps.run(map(parts.append, large.parts()))

    assert longest_step(once) < STEP_MAX
    if name != "slow":
        found = json.loads(b"".join(parts))["message"]
        assert len(found["DTMF" if what == "inputs" else "DID"]) == MANY
        assert b"".join(parts) == body(message(totals_of(user, *RANGE, where)))


def test_no_step_of_a_long_series_is_long() -> None:
    """1,000 steps, with many cells in one of them."""

    def once(steps: Steps) -> None:
        user = account(dids=MANY // 4, windows=1)
        large = LargeReply((0, STEPS_MAX * WINDOW_MS), None, (), "15m", UTC)
        steps.run(chain(large.read(user), large.parts()))

    assert longest_step(once) < STEP_MAX


@pytest.mark.parametrize(
    ("user", "small"),
    [
        (None, True),
        (User("u1"), True),
        (account(dids=600), True),
        (account(dids=3_000), False),
        (account(dids=3_000, windows=1), False),
        (account(inputs=500), True),
        (account(inputs=3_000), False),
    ],
    ids=["unknown", "empty", "600 cells", "3,000 cells", "of one window", "500 inputs", "3,000 inputs"],
)
@pytest.mark.parametrize("summed", [False, True], ids=["new", "with cached sums"])
def test_which_accounts_are_small(user: User | None, small: bool, summed: bool) -> None:
    """Those whose replies take about 5 ms at most, whether or not the sums of windows are cached."""
    if summed:
        totals_of(user, *RANGE)
    assert is_small_reply(user, RANGE, None) == small
    assert is_small_reply(user, RANGE, "15m") == small


def test_a_long_series_is_not_small() -> None:
    """However little the account has: each step has a message of its own."""
    assert is_small_reply(None, (0, SMALL_STEPS * WINDOW_MS), "15m")
    assert not is_small_reply(None, (0, (SMALL_STEPS + 1) * WINDOW_MS), "15m")
    assert is_small_reply(None, (0, (SMALL_STEPS + 1) * WINDOW_MS), "1h")


@pytest.mark.skipif(COMPILED, reason="a native cell always has counts: `make test-pure` runs it")
def test_to_say_that_a_reply_is_large_nobody_looks_at_each_cell() -> None:
    """Of 400,000 cells that took 0.1 s, in one step."""
    user = account(dids=3_000, windows=1)
    for cell in user.spans.cells():
        cell.counts = None  # type: ignore[assignment]  # so that a look at it fails
    assert not is_small_reply(user, RANGE, None)
