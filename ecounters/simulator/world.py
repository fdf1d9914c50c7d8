"""Simulated switches. They publish an endless, realistic sequence of events, the same one for equal plans.

    for published in simulate(Plan(start_ms=1_773_144_000_000, rate_per_s=20)):
        ...  # published.value is due at published.at_ms

An agenda holds what happens next: a call starts, a switch sends a snapshot or restarts, balances are published. A call
is written as a whole when it starts, because the next restart of its switch is known then. Its events wait in a heap
until they are due. So memory depends on the number of live calls, not on the number of events. Without chaos, an event
is published at its ``ts``, and no worker refuses any.

Times are ms since the Unix epoch. All telephone numbers and DIDs are in the area code 555 of +1, which is not in use.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate, count
from math import ceil, fsum, isfinite, log1p
from random import Random
from typing import Final

from ecounters.events.parse import SNAPSHOT_BYTES_MAX
from ecounters.events.types import TS_MAX_MS, TS_MIN_MS
from ecounters.simulator.accounts import COST_CENTS_A_MINUTE, TOP_UP_BELOW_CENTS, account_of
from ecounters.simulator.calls import CallMaker
from ecounters.simulator.chaos import LATENESS_MAX_MS, Chaos, ChaosShares
from ecounters.simulator.script import Timed
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

DAY_SHAPE: Final = (
    0.30, 0.24, 0.20, 0.18, 0.20, 0.28, 0.45, 0.75, 1.20, 1.65, 1.85, 1.80,
    1.55, 1.45, 1.65, 1.75, 1.70, 1.50, 1.20, 0.95, 0.80, 0.65, 0.50, 0.38,
)  # fmt: skip
"""The relative rate of calls at each full hour of the day, in UTC. Between two hours it changes linearly."""

BALANCES_MS: Final = 20 * SECOND_MS
"""Time between two rounds of balance.updated. A round has one for each user with a call that started since the last."""
SNAPSHOTS_MS: Final = 20 * MINUTE_MS
"""Time between two rounds of switch.snapshot by a switch. A round has one for each user that had live calls on the
switch since the last round; it lists the calls that still live."""
SNAPSHOT_TAKES_MS: Final = 3_000
"""A snapshot lacks the calls that started less than this before it: the switch has looked for its calls before them.
Such a call counts as ended by the snapshot until its next event."""
RESTARTS_MS: Final = 4 * HOUR_MS
"""Mean time between two restarts of a switch. Each time is drawn from a quarter to seven quarters of this."""
SWITCHES_MIN: Final = 4
CALLS_PER_SWITCH_AND_S: Final = 25
"""There is one switch for each 25 calls per second, but at least SWITCHES_MIN."""
REUSED_WITHIN_MS: Final = 20 * MINUTE_MS
"""With chaos, a call may have the id of an earlier one of its user that ended at most about this long before."""
NODES: Final = 9
"""Number of media nodes over which legs are dialed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. Equal plans give equal messages, byte by byte. Raises ValueError for a field out of range."""

    start_ms: int
    """No call starts before this time."""
    seed: int = 1
    users: int = 8
    """Number of users, "u1", "u2" and so on. The second has half as many calls as the first, the third a third."""
    rate_per_s: float = 20.0
    """Calls that start per second, of all users together, in the mean of a day."""
    day_shape: bool = True
    """Whether there are busy and quiet hours; otherwise the rate is the same all day."""
    chaos: bool = False
    """Whether ``Chaos`` adds faults to the events."""
    lateness_ms: int = 600_000
    """With chaos: the longest delay that ``delayed``, ``duplicated`` and jitter give an event, from 0 to
    LATENESS_MAX_MS. That is below the linger, so these faults make no event late. The fault ``late`` delays longer."""
    restarts: bool = True
    """Whether switches send switch.restarted and switch.snapshot."""
    shares: ChaosShares = field(default_factory=ChaosShares)
    """With chaos: how often each fault occurs."""

    def __post_init__(self) -> None:
        """Raise ValueError for a field out of its range."""
        if not TS_MIN_MS <= self.start_ms < TS_MAX_MS:
            raise ValueError(f"start_ms must be of the years 2000 to 2099, not {self.start_ms}")
        if self.users < 1:
            raise ValueError(f"users must be 1 or more, not {self.users}")
        if not (isfinite(self.rate_per_s) and self.rate_per_s > 0):
            raise ValueError(f"rate_per_s must be above 0, not {self.rate_per_s}")
        if not 0 <= self.lateness_ms <= LATENESS_MAX_MS:
            raise ValueError(f"lateness_ms must be from 0 to {LATENESS_MAX_MS}, not {self.lateness_ms}")


@dataclass(frozen=True, slots=True)
class Published:
    """A simulated message.

    ``at_ms``: when it is published. ``user_id``: its key; None for switch.restarted, which has no key and must be sent
    to every partition. ``value``: the event as JSON, or with chaos a broken copy of one.
    """

    at_ms: int
    user_id: str | None
    value: bytes


def simulate(plan: Plan) -> Iterator[Published]:
    """Yield the messages of a plan without end, sorted by ``at_ms``."""
    return _World(plan).messages()


_Action = Callable[[int], int]
"""An entry of the agenda: called with the time at which it is due, it acts, and returns when it is due next, which is
not earlier."""


class _World:
    """The state of a simulation: users, switches, live calls, and the events that are written and not yet due.

    ``_heap`` has an entry for each list of events that was passed to ``_publish``, such as those of a call: (when the
    next event is due, tie-break, the events, the user's id). The list has the latest event first, so that the next one
    is popped off its end.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(plan.seed).random
        self._ids = count(1)
        switches = max(SWITCHES_MIN, ceil(plan.rate_per_s / CALLS_PER_SWITCH_AND_S))
        self._switches = [f"sw{n + 1}" for n in range(switches)]
        weights = [1 / (n + 1) for n in range(plan.users)]
        self._weight_sums = list(accumulate(weights))
        calls_a_day = plan.rate_per_s * 86_400 / self._weight_sums[-1]
        self._accounts = [account_of(n, weight, calls_a_day * weight) for n, weight in enumerate(weights)]
        self._calls = CallMaker(self._random, self._ids, NODES)
        self._chaos = Chaos(self._random, plan.lateness_ms, plan.shares) if plan.chaos else None
        self._heap: list[tuple[int, int, list[Timed], str | None]] = []
        self._order = count()
        self._unbilled_minutes: dict[int, int] = {}  # by the index of the user
        # switch -> index of the user -> call id -> when the call starts and ends
        self._live: dict[str, dict[int, dict[str, tuple[int, int]]]] = {switch: {} for switch in self._switches}
        self._reusable: dict[int, tuple[str, int]] = {}  # index of the user -> a call's id, and when the call ends
        self._restarts_at: dict[str, int] = {}
        # fsum, because the result of sum() over floats differs between versions of Python.
        peak = max(DAY_SHAPE) / (fsum(DAY_SHAPE) / 24) if plan.day_shape else 1.0
        self._peak_gap_ms = 1000 / plan.rate_per_s / peak  # mean time between two calls at the busiest hour
        self._clock = float(plan.start_ms)

    def messages(self) -> Iterator[Published]:
        """Yield the events that are due before the next entry of the agenda, then do that entry, and so on."""
        heap, agenda = self._heap, self._agenda()
        while True:
            due, order, action = agenda[0]
            while heap and heap[0][0] < due:
                at, rank, events, user_id = heap[0]
                value = events.pop()[1]
                if events:
                    heapreplace(heap, (events[-1][0], rank, events, user_id))
                else:
                    heappop(heap)
                yield Published(at, user_id, value)
            heapreplace(agenda, (action(due), order, action))

    def _agenda(self) -> list[tuple[int, int, _Action]]:
        """A heap of (due, order, action). Of actions due at the same time, the smallest ``order`` comes first."""
        start = self._plan.start_ms
        first: list[tuple[int, _Action]] = []
        if self._plan.restarts:
            for number, switch in enumerate(self._switches, 1):
                gap_ms = self._restart_gap_ms()
                if number == 1:
                    gap_ms //= 2  # so that a short simulation has a restart too
                self._restarts_at[switch] = start + gap_ms
                first.append((self._restarts_at[switch], self._restart_action(switch)))
                first.append((start + SNAPSHOTS_MS * number // len(self._switches), self._snapshot_action(switch)))
        first.append((start + BALANCES_MS, self._publish_balances))
        first.append((self._next_start(), self._start_call))
        agenda = [(due, order, action) for order, (due, action) in enumerate(first)]
        heapify(agenda)
        return agenda

    def _publish(self, events: list[Timed], user_id: str | None) -> None:
        """Put events that are sorted by time into the heap, with faults if the plan has chaos."""
        if self._chaos is not None:
            events = self._chaos.disturb(events)
        if events:
            events.reverse()
            heappush(self._heap, (events[-1][0], next(self._order), events, user_id))

    # ------------------------------------------------------------------------------------- what happens

    def _next_start(self) -> int:
        """Move ``_clock`` on to the start of the next call, and return that time.

        Candidates come at the rate of the busiest hour. At other times only a share of them is accepted, as DAY_SHAPE
        says.
        """
        while True:
            self._clock -= log1p(-self._random()) * self._peak_gap_ms
            if not self._plan.day_shape or self._random() * max(DAY_SHAPE) < _shape(self._clock):
                return int(self._clock)

    def _start_call(self, now: int) -> int:
        """Write a call of a random user on a random switch, and return when the next call starts.

        The next restart of the switch ends the call: its later events are dropped. A call without a switchId goes on.
        """
        random = self._random
        index = bisect(self._weight_sums, random() * self._weight_sums[-1], hi=len(self._weight_sums) - 1)
        account = self._accounts[index]
        switch = self._switches[int(random() * len(self._switches))]
        skew_ms, call_id = 0, ""
        if self._chaos is not None:
            skew_ms = self._chaos.skew_ms()
            call_id = self._used_id(index, now)
        call = self._calls.make(now, account, switch, skew_ms, call_id)
        ended = call.ended
        if call.switch and self._plan.restarts:
            restart = self._restarts_at[switch]
            if restart <= call.events[-1][0]:
                call.drop_from(restart)
                ended = min(ended, restart)
            self._live[switch].setdefault(index, {})[call.call_id] = (now, ended)
        self._unbilled_minutes[index] = self._unbilled_minutes.get(index, 0) + (ended - now) // MINUTE_MS + 1
        self._publish(call.events, account.id)
        if self._chaos is not None:
            self._note_for_chaos(index, call.call_id, now, ended)
        return self._next_start()

    def _used_id(self, index: int, now: int) -> str:
        """The id of a call of the user that is over, for a new call with chaos; mostly "": the call gets a new one."""
        assert self._chaos is not None
        call_id, ended = self._reusable.get(index, ("", 0))
        return call_id if self._chaos.reuses_id() and ended < now else ""

    def _note_for_chaos(self, index: int, call_id: str, now: int, ended: int) -> None:
        """Note a call whose id a later one may use, and erase the account of the last of several users now and then."""
        assert self._chaos is not None
        if self._reusable.get(index, ("", 0))[1] < now - REUSED_WITHIN_MS:
            self._reusable[index] = (call_id, ended)
        if 0 < index == len(self._accounts) - 1 and self._chaos.erases():
            user_id = self._accounts[index].id
            self._publish([(now, self._event("account.erased", now, f'"userId":"{user_id}"'))], user_id)

    def _publish_balances(self, now: int) -> int:
        """Charge the users whose calls started since the last time, and publish their balances.

        A balance that is low is topped up before. Each balance.updated is due at a random time of the next BALANCES_MS.
        """
        for index, minutes in self._unbilled_minutes.items():
            account = self._accounts[index]
            if account.balance_cents < TOP_UP_BELOW_CENTS:
                account.balance_cents += account.top_up_cents
            account.balance_cents -= minutes * COST_CENTS_A_MINUTE
            account.call_minutes = max(0, account.call_minutes - minutes)
            at = now + int(self._random() * BALANCES_MS)
            cents = account.balance_cents
            amount = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
            if self._random() < 0.02:
                amount = f'"{amount}"'
            fields = f'"userId":"{account.id}","balance":{amount},"callBalance":{account.call_minutes}'
            self._publish([(at, self._event("balance.updated", at, fields))], account.id)
        self._unbilled_minutes.clear()
        return now + BALANCES_MS

    def _restart_gap_ms(self) -> int:
        return RESTARTS_MS // 4 + int(self._random() * RESTARTS_MS * 3 // 2)

    def _restart_action(self, switch: str) -> _Action:
        """The action that publishes a restart of the switch and chooses the time of the next one."""

        def restart(now: int) -> int:
            self._publish([(now, self._event("switch.restarted", now, f'"switchId":"{switch}"'))], None)
            self._restarts_at[switch] = now + self._restart_gap_ms()
            return self._restarts_at[switch]

        return restart

    def _snapshot_action(self, switch: str) -> _Action:
        """The action that publishes a snapshot of the switch for each user in ``_live``, and removes ended calls there.

        A snapshot that would be too large for a worker is left out.
        """

        def send_snapshots(now: int) -> int:
            live = self._live[switch]
            for index, calls in list(live.items()):
                live[index] = {call_id: times for call_id, times in calls.items() if times[1] > now}
                seen = (call_id for call_id, times in live[index].items() if times[0] <= now - SNAPSHOT_TAKES_MS)
                ids = ",".join(f'"{call_id}"' for call_id in seen)
                user_id = self._accounts[index].id
                value = self._event(
                    "switch.snapshot", now, f'"userId":"{user_id}","switchId":"{switch}","callIds":[{ids}]'
                )
                # A worker refuses a larger message. A shorter list of calls would end those that are left out.
                if len(value) <= SNAPSHOT_BYTES_MAX:
                    self._publish([(now, value)], user_id)
                if not live[index]:
                    del live[index]
            return now + SNAPSHOTS_MS

        return send_snapshots

    def _event(self, kind: str, ts: int, fields: str) -> bytes:
        return f'{{"id":"e{next(self._ids):x}","type":"{kind}","ts":{ts},{fields}}}'.encode()


def _shape(at_ms: float) -> float:
    """The relative rate of calls at a time: DAY_SHAPE, interpolated linearly."""
    hour, fraction = divmod(at_ms % DAY_MS / HOUR_MS, 1.0)
    first, then = DAY_SHAPE[int(hour) % 24], DAY_SHAPE[(int(hour) + 1) % 24]
    return first + (then - first) * fraction
