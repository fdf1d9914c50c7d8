"""The events that are published: a simulated log, calls that stay live, calls that come and go."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from ecounters.simulator.world import Plan, simulate
from streams.kafka.publisher import Outgoing

SIMULATED: Final = Plan(start_ms=1_773_144_000_000, seed=1, users=50, rate_per_s=200.0, day_shape=False)
"""The simulation of the throughput's log: the same bytes in every run."""

KINDS: Final = ("IBD", "OBD")
PER_USER: Final = 2
"""Campaigns and DIDs of a user: few, so that a window has few cells."""
SWITCHES: Final = 4
SORTS: Final = 8
"""A user's calls differ in kind, campaign, DID and switch in so many ways."""


def simulated(count: int) -> Iterator[Outgoing]:
    """The first messages of the simulation. A restart, which goes to every partition, counts as one."""
    for one in itertools.islice(simulate(SIMULATED), count):
        yield Outgoing(one.value, one.user_id, one.user_id is None, None)


class Call(NamedTuple):
    """A call whose events are being made. ``head``: the JSON fields that all its events have."""

    user_id: str
    head: str
    start: str


class Switch:
    """Makes events of similar calls, fast. ``numbers``: how many customers there are. ``sorts``: of each user's calls,
    up to SORTS."""

    def __init__(self, users: int, numbers: int, sorts: int = SORTS) -> None:
        self._users = users
        self._numbers = numbers
        self._sorts = sorts
        self._calls = 0
        self._events = 0

    def call(self, ts: int) -> Call:
        """The next call. Users take turns; if their count divides ``numbers``, a number belongs to one user."""
        at = self._calls
        self._calls += 1
        turn, user = divmod(at, self._users)
        turn %= self._sorts
        switch = f"sw{turn % SWITCHES + 1}"
        head = f'"userId":"u{user + 1}","callId":"{switch}-{ts}-{at:x}","switchId":"{switch}"'
        own = turn // 2 % PER_USER
        did = 15_550_000_000 + user * 10 + turn // 4 % PER_USER
        start = (
            f',"callType":"{KINDS[turn % len(KINDS)]}","campaignId":{100 + user * 10 + own},"did":"{did}"'
            f',"number":"+{15_551_000_000 + at % self._numbers}"'
        )
        return Call(f"u{user + 1}", head, start)

    def event(self, call: Call, kind: str, ts: int, more: str = "") -> Outgoing:
        """An event of a call. ``more``: its own fields as JSON, each with a comma before it."""
        self._events += 1
        value = f'{{"id":"e{self._events:x}","type":"{kind}","ts":{ts},{call.head}{more}}}'
        return Outgoing(value.encode(), call.user_id, False, None)

    def started(self, call: Call, ts: int) -> Outgoing:
        """The call.started of a call."""
        return self.event(call, "call.started", ts, call.start)


LIVE_EVENTS: Final = 6


def live_calls(switch: Switch, count: int, start_ms: int, gap_ms: int) -> Iterator[Outgoing]:
    """The events of calls that do not end: LIVE_EVENTS each, with an IVR and two answered legs."""
    for at in range(count):
        ts = start_ms + at * gap_ms
        call = switch.call(ts)
        yield switch.started(call, ts)
        yield switch.event(call, "ivr.entered", ts + 200, ',"ivrId":"500"')
        for leg in (1, 2):
            yield switch.event(call, "leg.ringing", ts + 4_000 * leg, f',"legId":"{leg}"')
            yield switch.event(call, "leg.answered", ts + 4_000 * leg + 3_000, f',"legId":"{leg}"')


class Rounds:
    """Calls that come and go: each round starts ``calls`` of them, and ends those started ``length`` rounds before.

    A call has ROUND_EVENTS events. From round ``length`` on the number of live calls stays the same.
    """

    ROUND_EVENTS: Final = 6

    def __init__(self, switch: Switch, calls: int, length: int) -> None:
        self._switch = switch
        self._calls = calls
        self._begun: deque[list[Call]] = deque()
        self._length = length

    def next(self, ts: int) -> Iterator[Outgoing]:
        """The events of one round, all with that ts."""
        switch, begun = self._switch, self._begun
        begun.append([switch.call(ts) for _ in range(self._calls)])
        for call in begun[-1]:
            yield switch.started(call, ts)
            yield switch.event(call, "ivr.entered", ts, ',"ivrId":"500"')
        for call in begun[-2] if len(begun) > 1 else ():
            yield switch.event(call, "leg.ringing", ts)
        for call in begun[-3] if len(begun) > 2 else ():
            yield switch.event(call, "leg.answered", ts)
        for call in begun.popleft() if len(begun) > self._length else ():
            yield switch.event(call, "leg.ended", ts)
            yield switch.event(call, "call.ended", ts, ',"status":16,"endedBy":"caller"')
