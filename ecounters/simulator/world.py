"""Simulated switches: endless, realistic, and the same again for the same plan.

    for published in simulate(Plan(start_ms=1_773_144_000_000, rate_per_s=20)):
        ...  # published.value is due at published.at_ms

What happens next is on an agenda: calls start, switches take stock or fall over, balances go down. A call is
written down as a whole when it starts, for then it is known when its switch falls over next; its events are handed
out in their time. Memory follows the calls that live, not the events made. Without chaos an event is published at
its ``ts``, and no event is refused.

Times are ms since the Unix epoch; all numbers of telephones begin with +1555, an area code that nobody has.
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

from ecounters.events.parse import VALUE_BYTES_MAX
from ecounters.events.types import TS_MAX_MS, TS_MIN_MS
from ecounters.simulator.calls import Account, CallMaker
from ecounters.simulator.chaos import LATENESS_MAX_MS, Chaos, ChaosShares
from ecounters.simulator.script import Timed
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

DAY_SHAPE: Final = (
    0.30, 0.24, 0.20, 0.18, 0.20, 0.28, 0.45, 0.75, 1.20, 1.65, 1.85, 1.80,
    1.55, 1.45, 1.65, 1.75, 1.70, 1.50, 1.20, 0.95, 0.80, 0.65, 0.50, 0.38,
)  # fmt: skip
"""Calls at each full hour of the day (UTC), relative to each other; in between, a straight line."""

BALANCES_MS: Final = 20 * SECOND_MS
"""An account's balance is told this often, if it had calls since."""
SNAPSHOTS_MS: Final = 20 * MINUTE_MS
RESTARTS_MS: Final = 4 * HOUR_MS
"""Mean time from one restart of a switch to the next."""
SWITCHES_MIN: Final = 4
CALLS_PER_SWITCH_AND_S: Final = 25
NODES: Final = 9
COST_CENTS_A_MINUTE: Final = 2
TOP_UP_BELOW_CENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. Two equal plans give the same bytes. Raises ValueError for what cannot be."""

    start_ms: int
    """When the first call may start; there are no calls before."""
    seed: int = 1
    users: int = 8
    """Accounts "u1", "u2" ...; the second has half as many calls as the first, the third a third."""
    rate_per_s: float = 20.0
    """Calls started per second, of all users, in the mean of a day."""
    day_shape: bool = True
    """Busy and quiet hours; otherwise the same rate all day."""
    chaos: bool = False
    lateness_ms: int = 600_000
    """Chaos: how much later than it happened an event may be published; below the 15 minutes of linger."""
    restarts: bool = True
    """Whether switches restart and take stock (switch.restarted, switch.snapshot)."""
    shares: ChaosShares = field(default_factory=ChaosShares)
    """Chaos: how much of what."""

    def __post_init__(self) -> None:
        """Refuse what would not end, or would not be events."""
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
    """One message. ``user_id``: its key; None: for every partition, without a key (switch.restarted)."""

    at_ms: int
    """When the switch publishes it."""
    user_id: str | None
    value: bytes


def simulate(plan: Plan) -> Iterator[Published]:
    """The messages of a plan, endless, in the order of ``at_ms``."""
    return _World(plan).messages()


_Action = Callable[[int], int]
"""Does what is due at that time; returns when it is due again, which is never before."""


class _World:
    """Accounts, switches, an agenda of what happens next, and a heap of what has been written and not handed out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(plan.seed).random
        self._ids = count(1)
        switches = max(SWITCHES_MIN, ceil(plan.rate_per_s / CALLS_PER_SWITCH_AND_S))
        self._switches = [f"sw{n + 1}" for n in range(switches)]
        weights = [1 / (n + 1) for n in range(plan.users)]
        self._sizes = list(accumulate(weights))
        calls_a_day = plan.rate_per_s * 86_400 / self._sizes[-1]
        self._accounts = [_account(n, weight, calls_a_day * weight) for n, weight in enumerate(weights)]
        self._calls = CallMaker(self._random, self._ids, NODES)
        self._chaos = Chaos(self._random, plan.lateness_ms, plan.shares) if plan.chaos else None
        # Each entry's list has the latest event first, so that the next one is taken off its end.
        self._heap: list[tuple[int, int, list[Timed], str | None]] = []
        self._order = count()
        self._charged: dict[int, int] = {}
        self._live: dict[str, dict[int, dict[str, int]]] = {switch: {} for switch in self._switches}
        self._falls_at: dict[str, int] = {}
        # Not sum(): what it makes of floats is not the same in all Pythons.
        peak = max(DAY_SHAPE) / (fsum(DAY_SHAPE) / 24) if plan.day_shape else 1.0
        self._gap_ms = 1000 / plan.rate_per_s / peak
        self._clock = float(plan.start_ms)

    def messages(self) -> Iterator[Published]:
        """Hand out what is due before the next thing happens, let that happen, and so on."""
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
        """What is due first, in an order that settles what comes first of what is due at the same time."""
        start = self._plan.start_ms
        first: list[tuple[int, _Action]] = []
        if self._plan.restarts:
            for at, switch in enumerate(self._switches):
                self._falls_at[switch] = start + self._restart_gap_ms() // (1 + (at == 0))
                first.append((self._falls_at[switch], self._restarting(switch)))
                first.append((start + SNAPSHOTS_MS * (at + 1) // len(self._switches), self._taking_stock(switch)))
        first.append((start + BALANCES_MS, self._tell_balances))
        first.append((self._next_start(), self._start_call))
        agenda = [(due, order, action) for order, (due, action) in enumerate(first)]
        heapify(agenda)
        return agenda

    def _publish(self, events: list[Timed], user_id: str | None) -> None:
        if self._chaos is not None:
            events = self._chaos.disturb(events)
        if events:
            events.reverse()
            heappush(self._heap, (events[-1][0], next(self._order), events, user_id))

    # ------------------------------------------------------------------------------------- what happens

    def _next_start(self) -> int:
        """When the next call starts: at the rate of the busiest hour, less what is thinned out at other times."""
        while True:
            self._clock -= log1p(-self._random()) * self._gap_ms
            if not self._plan.day_shape or self._random() * max(DAY_SHAPE) < _shape(self._clock):
                return int(self._clock)

    def _start_call(self, now: int) -> int:
        random = self._random
        at = bisect(self._sizes, random() * self._sizes[-1], hi=len(self._sizes) - 1)
        account = self._accounts[at]
        switch = self._switches[int(random() * len(self._switches))]
        call = self._calls.make(now, account, switch, self._chaos.skew_ms() if self._chaos else 0)
        ended = call.ended
        if call.switch and self._plan.restarts:
            falls = self._falls_at[switch]
            if falls <= ended:
                call.take_changes(falls)
                ended = falls
            self._live[switch].setdefault(at, {})[call.call_id] = ended
        self._charged[at] = self._charged.get(at, 0) + (ended - now) // MINUTE_MS + 1
        self._publish(call.events, account.id)
        return self._next_start()

    def _tell_balances(self, now: int) -> int:
        """The calls begun since the last time are paid for; an account that runs low is topped up."""
        for at, minutes in self._charged.items():
            account = self._accounts[at]
            if account.balance_cents < TOP_UP_BELOW_CENTS:
                account.balance_cents += account.top_up_cents
            account.balance_cents -= minutes * COST_CENTS_A_MINUTE
            account.call_minutes = max(0, account.call_minutes - minutes)
            when = now + int(self._random() * BALANCES_MS)
            cents = account.balance_cents
            amount = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
            if self._random() < 0.02:
                amount = f'"{amount}"'
            fields = f'"userId":"{account.id}","balance":{amount},"callBalance":{account.call_minutes}'
            self._publish([(when, self._event("balance.updated", when, fields))], account.id)
        self._charged.clear()
        return now + BALANCES_MS

    def _restart_gap_ms(self) -> int:
        return RESTARTS_MS // 4 + int(self._random() * RESTARTS_MS * 3 // 2)

    def _restarting(self, switch: str) -> _Action:
        def restart(now: int) -> int:
            self._publish([(now, self._event("switch.restarted", now, f'"switchId":"{switch}"'))], None)
            self._falls_at[switch] = now + self._restart_gap_ms()
            return self._falls_at[switch]

        return restart

    def _taking_stock(self, switch: str) -> _Action:
        def take_stock(now: int) -> int:
            live = self._live[switch]
            for at, calls in list(live.items()):
                live[at] = {call_id: ended for call_id, ended in calls.items() if ended > now}
                ids = ",".join(f'"{call_id}"' for call_id in live[at])
                user_id = self._accounts[at].id
                value = self._event(
                    "switch.snapshot", now, f'"userId":"{user_id}","switchId":"{switch}","callIds":[{ids}]'
                )
                if len(value) <= VALUE_BYTES_MAX:  # a switch cannot send more, and half a list would end the others
                    self._publish([(now, value)], user_id)
                if not live[at]:
                    del live[at]
            return now + SNAPSHOTS_MS

        return take_stock

    def _event(self, kind: str, ts: int, fields: str) -> bytes:
        return f'{{"id":"e{next(self._ids):x}","type":"{kind}","ts":{ts},{fields}}}'.encode()


def _shape(at_ms: float) -> float:
    """The relative rate at that time, on a straight line between two full hours."""
    hour, part = divmod(at_ms % DAY_MS / HOUR_MS, 1.0)
    first, then = DAY_SHAPE[int(hour) % 24], DAY_SHAPE[(int(hour) + 1) % 24]
    return first + (then - first) * part


def _account(n: int, weight: float, calls_a_day: float) -> Account:
    """The account at that place; ``weight`` is its size, 1 for the first. All that is of its own follows from these."""
    customers = min(2_000_000, max(40, int(calls_a_day / 2)))
    top_up = TOP_UP_BELOW_CENTS + int(calls_a_day * 3 * COST_CENTS_A_MINUTE)
    return Account(
        id=f"u{n + 1}",
        dids=tuple(f"1555{n % 1000 * 1000 + k:07d}" for k in range(2 + int(12 * weight))),
        campaigns=tuple(100 + n * 10 + k for k in range(3 + int(6 * weight))),
        ivrs=tuple(str(500 + n * 10 + k) for k in range(1 + int(4 * weight))),
        agents=5 + int(200 * weight),
        # From 1555 1 000 000 on; the numbers below it are the accounts' own.
        first_number=15_551_000_000 + n * 7_919 % 6_900_000,
        numbers=customers,
        balance_cents=top_up,
        call_minutes=int(calls_a_day * 30),
        top_up_cents=top_up,
    )
