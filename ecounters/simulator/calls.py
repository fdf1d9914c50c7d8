"""Made-up calls: what one call's events are, from the first to the last. Called by ``simulate``.

A call is written down as a whole when it starts. Times are ms since the Unix epoch. Chance comes from
``random.Random.random()`` alone, the one method whose numbers are promised to stay the same in later Pythons.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from ecounters.simulator.script import Ending, Script
from ecounters.windows.calendar import SECOND_MS

HUNG_UP: Final[Ending] = (16, "caller", "NORMAL_CLEARING")
PUT_DOWN: Final[Ending] = (16, "callee", "NORMAL_CLEARING")
PLAYED: Final[Ending] = (16, "system", "NORMAL_CLEARING")
ABANDONED: Final[Ending] = (487, "caller", "ORIGINATOR_CANCEL")
BUSY: Final[Ending] = (17, "callee", "USER_BUSY")
NO_ANSWER: Final[Ending] = (19, "system", "NO_ANSWER")
NO_ROUTE: Final[Ending] = (34, "system", "NO_CIRCUIT")

KINDS: Final = (
    ("IBD", 0.46), ("OBD", 0.24), ("BRD", 0.12), ("CTC", 0.10), ("QC", 0.03), ("POOL", 0.02), ("MASK", 0.02),
    ("FLASH", 0.01),
)  # fmt: skip
"""Share of each callType."""
TALK_S: Final = (
    (0.150, 3, 15), (0.400, 15, 120), (0.317, 120, 280), (0.120, 280, 800), (0.011, 800, 2_800), (0.002, 7_300, 10_700),
)  # fmt: skip
"""Share of talks, and their shortest and longest length: about 3 minutes in the mean, a few above 2 hours."""

GHOSTS: Final = 0.025
OLD_FASHIONED: Final = 0.015
"""Calls whose switch writes times as text and numbers as strings."""
SIMPLE: Final = 0.15
"""Outbound calls by a gateway that names neither itself nor its legs."""
UNREACHED: Final = (0.06, 0.35, 0.35)
"""Share of legs that never ring: of the first tries, of first and of second retries."""
IMPATIENT: Final = 0.07
"""Callers who hang up less than 5 s after the first ring."""


@dataclass(slots=True)
class Account:
    """One user of the platform, and what is of its own."""

    id: str
    dids: tuple[str, ...]
    campaigns: tuple[int, ...]
    ivrs: tuple[str, ...]
    agents: int
    first_number: int
    numbers: int
    """How many customers there are; some of them call often, most of them hardly ever."""
    balance_cents: int
    call_minutes: int
    top_up_cents: int


class CallMaker:
    """Writes calls. ``random``: numbers of [0, 1), all that is used of chance; ``ids``: of the events."""

    def __init__(self, random: Callable[[], float], ids: Iterator[int], nodes: int) -> None:
        self._random = random
        self._ids = ids
        self._nodes = nodes
        self._made = 0
        self._kinds = [kind for kind, _ in KINDS]
        self._kind_bounds = list(accumulate(share for _, share in KINDS))[:-1]
        self._talk_bounds = list(accumulate(share for share, _, _ in TALK_S))[:-1]
        self._ways: dict[str, Callable[[Script, int, Account], None]] = {
            "IBD": self._inbound,
            "OBD": self._outbound,
            "BRD": self._broadcast,
            "CTC": self._two_legs,
            "QC": self._outbound,
            "POOL": self._pool,
            "MASK": self._two_legs,
            "FLASH": self._flash,
        }

    def make(self, at: int, account: Account, switch: str, skew_ms: int = 0) -> Script:
        """One call that starts at that time, whole. ``skew_ms``: how far the switch's clock is ahead."""
        random = self._random
        kind = self._kinds[bisect(self._kind_bounds, random())]
        simple = kind in ("OBD", "QC") and random() < SIMPLE
        self._made += 1
        call_id = f"{'gw' if simple else switch}-{at}-{self._made:x}"
        s = Script(call_id, account.id, "" if simple else switch, at, self._ids)
        s.told_by(old=random() < OLD_FASHIONED, skew_ms=skew_ms)
        s.add(at, "call.started", self._start_fields(s, kind, account))
        if simple:
            self._simple(s, at)
        elif random() < GHOSTS:
            self._ghost(s, at, account)
        else:
            self._ways[kind](s, at, account)
        return s

    def _start_fields(self, s: Script, kind: str, account: Account) -> str:
        random = self._random
        more = f',"callType":"{kind}"'
        chance = random()
        if kind in ("OBD", "BRD") or (kind == "IBD" and chance < 0.6):
            # Squared, the first ones come oftener: campaigns and customers are not alike.
            campaign = account.campaigns[int(random() ** 2 * len(account.campaigns))]
            more += f',"campaignId":{s.number(-1 if chance < 0.05 else campaign)}'
        elif chance > 0.9:
            more += f',"campaignId":{s.number(0)}'
        more += f',"did":"{account.dids[int(random() ** 2 * len(account.dids))]}"'
        if random() < 0.02:  # withheld
            return more
        return more + f',"number":"+{account.first_number + int(random() ** 2 * account.numbers)}"'

    # ------------------------------------------------------------------------------------- kinds of calls

    def _inbound(self, s: Script, t: int, account: Account) -> None:
        if self._random() < 0.85:
            t, hung_up = self._ivr(s, t + self._between(80, 400), account)
            if hung_up:
                s.end(t, HUNG_UP)
                return
        if self._random() < 0.03:
            s.add(t + 20, "call.forwarded", f',"to":"{account.dids[0]}"')
        agents = 1 + int(self._random() * min(4, account.agents))
        self._connect(s, t + self._between(50, 600), agents, account)

    def _outbound(self, s: Script, t: int, account: Account) -> None:
        self._connect(s, t + self._between(50, 600), 1, account)

    def _two_legs(self, s: Script, t: int, account: Account) -> None:
        """Click-to-call and masked numbers: the one side first, then the other."""
        t, ending = self._hunt(s, t + self._between(50, 400), 1, 60 * SECOND_MS, account)
        if ending is None:
            self._connect(s, t + self._between(100, 800), 1, account)
        else:
            s.end(t, ending)

    def _broadcast(self, s: Script, t: int, account: Account) -> None:
        t, ending = self._hunt(s, t + self._between(50, 600), 1, 45 * SECOND_MS, account)
        if ending is None:
            if self._random() < 0.8:
                t, hung_up = self._ivr(s, t + 40, account)
                ending = HUNG_UP if hung_up else PLAYED
            else:
                t, ending = t + self._between(5_000, 40_000), PLAYED
        s.end(t, ending)

    def _pool(self, s: Script, t: int, account: Account) -> None:
        """All agents ring at once; the first one to answer has the call."""
        ringing = []
        for _ in range(2 + int(self._random() * 3)):
            t, leg, retry = self._reach(s, t + 40, account)
            if leg:
                ringing.append((leg, retry))
        t += self._between(2_000, 25_000)
        answered = ringing.pop() if ringing and self._random() < 0.8 else None
        for leg, retry in ringing:
            s.leg(t, "leg.ended", leg, retry)
        if answered is None:
            s.end(t, NO_ANSWER if ringing else NO_ROUTE)
            return
        s.answer(t, *answered)
        self._talk(s, t, account)

    def _flash(self, s: Script, t: int, account: Account) -> None:
        """Rings once, so that the number is seen, and is over."""
        t, leg, retry = self._reach(s, t + 60, account)
        if leg:
            t += self._between(1_000, 3_500)
            s.leg(t, "leg.ended", leg, retry)
        s.end(t, PLAYED if leg else NO_ROUTE)

    def _ghost(self, s: Script, t: int, account: Account) -> None:
        """Nothing ever rings."""
        if self._random() < 0.4:
            s.dial(t + 90, 0, self._node(), self._agent(account))
        s.end(t + self._between(150, 4_000), NO_ROUTE)

    def _simple(self, s: Script, t: int) -> None:
        """A gateway that has one leg and needs no name for it."""
        t += self._between(800, 3_000)
        s.add(t, "leg.ringing")
        if self._random() < 0.55:
            t += self._between(2_000, 20_000)
            s.add(t, "leg.answered")
            s.end(t + self._talk_ms(), self._goodbye())
        else:
            s.end(t + self._between(15_000, 40_000), NO_ANSWER)

    # ------------------------------------------------------------------------------------ parts of a call

    def _connect(self, s: Script, t: int, agents: int, account: Account) -> None:
        """Ring until somebody answers, talk, and end the call however it goes."""
        impatient = self._random() < IMPATIENT
        patience = self._between(400, 4_900) if impatient else self._between(20_000, 140_000)
        t, ending = self._hunt(s, t, agents, patience, account)
        if ending is None:
            self._talk(s, t, account)
        else:
            s.end(t, ending)

    def _hunt(self, s: Script, t: int, agents: int, patience_ms: int, account: Account) -> tuple[int, Ending | None]:
        """Ring one agent after the other. Returns the time, and why the call is over: None if it was answered.

        ``patience_ms``: how long after the first ring the caller waits.
        """
        random = self._random
        gives_up = 0
        for _ in range(agents):
            t, leg, retry = self._reach(s, t, account)
            if not leg:
                return t, NO_ROUTE
            gives_up = max(gives_up, t) if gives_up else t + patience_ms
            answers = random() < 0.6
            rung = t + (self._between(1_500, 14_000) if answers else self._between(8_000, 26_000))
            if gives_up < rung:
                if random() < 0.7:  # else the call's end is to be enough
                    s.leg(gives_up, "leg.ended", leg, retry)
                return gives_up, ABANDONED
            t = rung
            if answers:
                s.answer(t, leg, retry)
                return t, None
            s.leg(t, "leg.ended", leg, retry)
            t += self._between(50, 450)
        return t, BUSY if random() < 0.3 else NO_ANSWER

    def _reach(self, s: Script, t: int, account: Account) -> tuple[int, int, int]:
        """Get a leg to ring, by way of other nodes if need be. Returns (when, leg, retry); leg 0: none of them can."""
        node, agent = self._node(), self._agent(account)
        for retry, unreached in enumerate(UNREACHED):
            leg = s.dial(t, retry, node, agent)
            if self._random() >= unreached:
                t += self._between(200, 1_800)
                s.leg(t, "leg.ringing", leg, retry)
                return t, leg, retry
            t += self._between(300, 2_500)
            s.leg(t, "leg.ended", leg, retry)
            t += 100
            node = node % self._nodes + 1
        return t, 0, 0

    def _ivr(self, s: Script, t: int, account: Account) -> tuple[int, bool]:
        """In an IVR, or in one and then in one within it. Returns the time and whether the caller hung up there."""
        random = self._random
        first = int(random() * len(account.ivrs))
        inside = []
        for flow in range(2 if random() < 0.15 else 1):
            ivr = account.ivrs[(first + flow) % len(account.ivrs)]
            s.add(t, "ivr.entered", f',"ivrId":"{ivr}"')
            inside.append(ivr)
            t += self._between(1_500, 9_000)
            while random() < 0.6:
                digits = self._digits()
                valid = ',"valid":false' if random() < 0.12 else ',"valid":true' if random() < 0.5 else ""
                s.add(t, "dtmf.received", f',"digits":"{digits}"{valid},"ivrId":"{ivr}"')
                t += self._between(1_000, 7_000)
            if random() < 0.05:
                return t, True
        for ivr in reversed(inside):
            s.add(t, "ivr.left", f',"ivrId":"{ivr}"')
        return t, False

    def _digits(self) -> str:
        """Mostly a choice of a menu, now and then an extension or another key."""
        chance = self._random()
        if chance < 0.9:
            return str(int(chance**2 * 7) + 1)
        return str(int(chance * 10_000)) if chance < 0.96 else "#" if chance < 0.98 else "*"

    def _talk(self, s: Script, t: int, account: Account) -> None:
        """Talk from that time on, and end the call."""
        random = self._random
        end = t + self._talk_ms()
        if end - t > 20_000 and random() < 0.14:
            self._hold(s, self._between(t + 5_000, end - 5_000), end)
        if end - t > 30_000 and random() < 0.05:
            at = self._between(t + 10_000, end - 15_000)
            s.add(at, "call.transferred", f',"to":"a{self._agent(account)}"')
            ring, leg, retry = self._reach(s, at + 50, account)
            if leg and ring + 2_000 < end:
                s.answer(ring + 2_000, leg, retry)
        s.end(max(end, s.events[-1][0]), self._goodbye())

    def _hold(self, s: Script, at: int, end: int) -> None:
        s.add(at, "call.held")
        resumed = at + self._between(3_000, 90_000)
        if resumed < end:  # else the caller had enough of the music
            s.add(resumed, "call.resumed")

    def _goodbye(self) -> Ending:
        return HUNG_UP if self._random() < 0.6 else PUT_DOWN

    def _talk_ms(self) -> int:
        _, shortest, longest = TALK_S[bisect(self._talk_bounds, self._random())]
        return self._between(shortest * SECOND_MS, longest * SECOND_MS)

    def _between(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low))

    def _node(self) -> int:
        return 1 + int(self._random() * self._nodes)

    def _agent(self, account: Account) -> int:
        return 1 + int(self._random() * account.agents)
