"""Simulated calls: ``CallMaker`` writes all events of one call, from call.started to call.ended.

A call is written as a whole when it starts. Times are ms since the Unix epoch. All chance comes from
``random.Random.random()``, because Python promises that it returns the same numbers in later versions. The order of the
draws is part of the result: a draw that is added or moved changes all calls after it.
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
"""(callType, its share of all calls)."""
TALK_S: Final = (
    (0.150, 3, 15), (0.400, 15, 120), (0.317, 120, 280), (0.120, 280, 800), (0.011, 800, 2_800), (0.002, 7_300, 10_700),
)  # fmt: skip
"""(share of all talks, shortest, longest length in s). The mean is about 3 minutes; 2 of 1,000 exceed 2 hours."""

GHOSTS: Final = 0.025
"""Share of the calls of switches that end without any ringing. Further calls ring nowhere because of UNREACHED."""
OLD_FASHIONED: Final = 0.015
"""Share of calls whose switch writes times as text, numbers as strings, and ids of legs as numbers."""
SIMPLE: Final = 0.15
"""Share of outbound calls (OBD and QC) that come from a gateway, which sends neither a switchId nor a legId."""
UNREACHED: Final = (0.06, 0.35, 0.35)
"""Share of legs that never ring: of first tries, of first retries, of second retries. There is no third retry."""
IMPATIENT: Final = 0.07
"""Share of callers who wait less than 5 s from the first ring on, and hang up if nobody answers before."""


@dataclass(slots=True)
class Account:
    """One simulated user.

    ``dids``, ``campaigns``, ``ivrs``: ids that its calls have. ``agents``: how many agents it has. ``customers``: how
    many customers it has; their telephone numbers are ``first_number`` and those that follow it. A few customers call
    often and most hardly ever. ``balance_cents``, ``call_minutes``: the prepaid balance and minutes; the simulation
    changes both. ``top_up_cents``: what it adds to a low balance.
    """

    id: str
    dids: tuple[str, ...]
    campaigns: tuple[int, ...]
    ivrs: tuple[str, ...]
    agents: int
    first_number: int
    customers: int
    balance_cents: int
    call_minutes: int
    top_up_cents: int


class CallMaker:
    """Writes calls.

    ``random``: returns numbers of [0, 1), the only source of chance. ``ids``: the next number becomes the next event's
    id. ``nodes``: how many media nodes there are.
    """

    def __init__(self, random: Callable[[], float], ids: Iterator[int], nodes: int) -> None:
        self._random = random
        self._ids = ids
        self._nodes = nodes
        self._made = 0
        self._kinds = [kind for kind, _ in KINDS]
        self._kind_bounds = list(accumulate(share for _, share in KINDS))[:-1]
        self._talk_bounds = list(accumulate(share for share, _, _ in TALK_S))[:-1]
        self._write_by_kind: dict[str, Callable[[Script, int, Account], None]] = {
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
        """Write one call of ``account`` on ``switch`` that starts at ``at``, up to its end.

        ``skew_ms``: how far the clock of the switch is ahead. Some calls come from a gateway instead of ``switch``: see
        SIMPLE.
        """
        random = self._random
        kind = self._kinds[bisect(self._kind_bounds, random())]
        simple = kind in ("OBD", "QC") and random() < SIMPLE
        self._made += 1
        call_id = f"{'gw' if simple else switch}-{at}-{self._made:x}"
        script = Script(call_id, account.id, "" if simple else switch, at, self._ids)
        script.set_switch(old_fashioned=random() < OLD_FASHIONED, skew_ms=skew_ms)
        script.add(at, "call.started", self._start_fields(script, kind, account))
        if simple:
            self._simple(script, at)
        elif random() < GHOSTS:
            self._ghost(script, at, account)
        else:
            self._write_by_kind[kind](script, at, account)
        return script

    def _start_fields(self, script: Script, kind: str, account: Account) -> str:
        """The JSON fields callType, campaignId, did and number of call.started, each with a comma before it.

        campaignId and number are missing in some calls.
        """
        random = self._random
        more = f',"callType":"{kind}"'
        chance = random()
        if kind in ("OBD", "BRD") or (kind == "IBD" and chance < 0.6):
            # random() ** 2 prefers small indexes: the first campaigns, DIDs and customers have the most calls.
            campaign = account.campaigns[int(random() ** 2 * len(account.campaigns))]
            more += f',"campaignId":{script.number(-1 if chance < 0.05 else campaign)}'
        elif chance > 0.9:
            more += f',"campaignId":{script.number(0)}'
        more += f',"did":"{account.dids[int(random() ** 2 * len(account.dids))]}"'
        if random() < 0.02:  # the caller withholds the number
            return more
        return more + f',"number":"+{account.first_number + int(random() ** 2 * account.customers)}"'

    # ------------------------------------------------------------------------------------- kinds of calls

    def _inbound(self, script: Script, at: int, account: Account) -> None:
        if self._random() < 0.85:
            at, hung_up = self._ivr(script, at + self._between(80, 400), account)
            if hung_up:
                script.end(at, HUNG_UP)
                return
        if self._random() < 0.03:
            script.add(at + 20, "call.forwarded", f',"to":"{account.dids[0]}"')
        agents = 1 + int(self._random() * min(4, account.agents))
        self._connect(script, at + self._between(50, 600), agents, account)

    def _outbound(self, script: Script, at: int, account: Account) -> None:
        self._connect(script, at + self._between(50, 600), 1, account)

    def _two_legs(self, script: Script, at: int, account: Account) -> None:
        """Click-to-call and masked numbers: connect one side first, then the other."""
        at, ending = self._hunt(script, at + self._between(50, 400), 1, 60 * SECOND_MS, account)
        if ending is None:
            self._connect(script, at + self._between(100, 800), 1, account)
        else:
            script.end(at, ending)

    def _broadcast(self, script: Script, at: int, account: Account) -> None:
        at, ending = self._hunt(script, at + self._between(50, 600), 1, 45 * SECOND_MS, account)
        if ending is None:
            if self._random() < 0.8:
                at, hung_up = self._ivr(script, at + 40, account)
                ending = HUNG_UP if hung_up else PLAYED
            else:
                at, ending = at + self._between(5_000, 40_000), PLAYED
        script.end(at, ending)

    def _pool(self, script: Script, at: int, account: Account) -> None:
        """Dial two to four agents. All that are reached ring together; mostly one of them answers and gets the call."""
        ringing = []
        for _ in range(2 + int(self._random() * 3)):
            at, leg, retry = self._reach(script, at + 40, account)
            if leg:
                ringing.append((leg, retry))
        at += self._between(2_000, 25_000)
        answered = ringing.pop() if ringing and self._random() < 0.8 else None
        for leg, retry in ringing:
            script.leg(at, "leg.ended", leg, retry)
        if answered is None:
            script.end(at, NO_ANSWER if ringing else NO_ROUTE)
            return
        script.answer(at, *answered)
        self._talk(script, at, account)

    def _flash(self, script: Script, at: int, account: Account) -> None:
        """Ring for 1 to 3.5 s, so that the callee sees the number, and end. End at once if no leg rings."""
        at, leg, retry = self._reach(script, at + 60, account)
        if leg:
            at += self._between(1_000, 3_500)
            script.leg(at, "leg.ended", leg, retry)
        script.end(at, PLAYED if leg else NO_ROUTE)

    def _ghost(self, script: Script, at: int, account: Account) -> None:
        """End the call within 4 s without any ringing, with or without a dialed leg."""
        if self._random() < 0.4:
            script.dial(at + 90, 0, self._node(), self._agent(account))
        script.end(at + self._between(150, 4_000), NO_ROUTE)

    def _simple(self, script: Script, at: int) -> None:
        """A call by a gateway: one leg, which has no legId, no leg.dialed and no leg.ended."""
        at += self._between(800, 3_000)
        script.add(at, "leg.ringing")
        if self._random() < 0.55:
            at += self._between(2_000, 20_000)
            script.add(at, "leg.answered")
            script.end(at + self._talk_ms(), self._goodbye())
        else:
            script.end(at + self._between(15_000, 40_000), NO_ANSWER)

    # ------------------------------------------------------------------------------------ sections of a call

    def _connect(self, script: Script, at: int, agents: int, account: Account) -> None:
        """Ring up to ``agents`` agents, one after the other; if one answers, talk. End the call in any case."""
        impatient = self._random() < IMPATIENT
        patience = self._between(400, 4_900) if impatient else self._between(20_000, 140_000)
        at, ending = self._hunt(script, at, agents, patience, account)
        if ending is None:
            self._talk(script, at, account)
        else:
            script.end(at, ending)

    def _hunt(
        self, script: Script, at: int, agents: int, patience_ms: int, account: Account
    ) -> tuple[int, Ending | None]:
        """Ring up to ``agents`` agents, one after the other, until one answers.

        ``patience_ms``: how long the caller waits from the first ring on. Returns (time, None) if an agent answered.
        Else returns (time, ending): the caller of this method must write that end of the call.
        """
        random = self._random
        gives_up = 0
        for _ in range(agents):
            at, leg, retry = self._reach(script, at, account)
            if not leg:
                return at, NO_ROUTE
            gives_up = max(gives_up, at) if gives_up else at + patience_ms
            answers = random() < 0.6
            rung = at + (self._between(1_500, 14_000) if answers else self._between(8_000, 26_000))
            if gives_up < rung:
                if random() < 0.7:  # some switches send no leg.ended when the caller hangs up
                    script.leg(gives_up, "leg.ended", leg, retry)
                return gives_up, ABANDONED
            at = rung
            if answers:
                script.answer(at, leg, retry)
                return at, None
            script.leg(at, "leg.ended", leg, retry)
            at += self._between(50, 450)
        return at, BUSY if random() < 0.3 else NO_ANSWER

    def _reach(self, script: Script, at: int, account: Account) -> tuple[int, int, int]:
        """Dial an agent until a leg rings, at most three times, each time with a new leg over the next media node.

        Returns (time, leg, retry) of the leg that rings, or (time, 0, 0) if none does.
        """
        node, agent = self._node(), self._agent(account)
        for retry, unreached in enumerate(UNREACHED):
            leg = script.dial(at, retry, node, agent)
            if self._random() >= unreached:
                at += self._between(200, 1_800)
                script.leg(at, "leg.ringing", leg, retry)
                return at, leg, retry
            at += self._between(300, 2_500)
            script.leg(at, "leg.ended", leg, retry)
            at += 100
            node = node % self._nodes + 1
        return at, 0, 0

    def _ivr(self, script: Script, at: int, account: Account) -> tuple[int, bool]:
        """Pass an IVR, or one and a second one inside it, with some DTMF inputs.

        Returns (time, whether the caller hung up inside). After a hang-up, the IVRs have no ivr.left and the caller of
        this method must end the call.
        """
        random = self._random
        first = int(random() * len(account.ivrs))
        inside = []
        for flow in range(2 if random() < 0.15 else 1):
            ivr = account.ivrs[(first + flow) % len(account.ivrs)]
            script.add(at, "ivr.entered", f',"ivrId":"{ivr}"')
            inside.append(ivr)
            at += self._between(1_500, 9_000)
            while random() < 0.6:
                digits = self._digits()
                valid = ',"valid":false' if random() < 0.12 else ',"valid":true' if random() < 0.5 else ""
                script.add(at, "dtmf.received", f',"digits":"{digits}"{valid},"ivrId":"{ivr}"')
                at += self._between(1_000, 7_000)
            if random() < 0.05:
                return at, True
        for ivr in reversed(inside):
            script.add(at, "ivr.left", f',"ivrId":"{ivr}"')
        return at, False

    def _digits(self) -> str:
        """The digits that the caller keys in: mostly a choice of a menu, sometimes an extension, # or *."""
        chance = self._random()
        if chance < 0.9:
            return str(int(chance**2 * 7) + 1)
        return str(int(chance * 10_000)) if chance < 0.96 else "#" if chance < 0.98 else "*"

    def _talk(self, script: Script, at: int, account: Account) -> None:
        """Talk from ``at`` on, perhaps with a hold, a transfer or both, and end the call."""
        random = self._random
        end = at + self._talk_ms()
        if end - at > 20_000 and random() < 0.14:
            self._hold(script, self._between(at + 5_000, end - 5_000), end)
        if end - at > 30_000 and random() < 0.05:
            transferred = self._between(at + 10_000, end - 15_000)
            script.add(transferred, "call.transferred", f',"to":"a{self._agent(account)}"')
            ringing, leg, retry = self._reach(script, transferred + 50, account)
            if leg and ringing + 2_000 < end:
                script.answer(ringing + 2_000, leg, retry)
        script.end(max(end, script.events[-1][0]), self._goodbye())

    def _hold(self, script: Script, at: int, end: int) -> None:
        """Hold the call at ``at``, and resume it 3 to 90 s later if that is before the end of the talk, ``end``."""
        script.add(at, "call.held")
        resumed = at + self._between(3_000, 90_000)
        if resumed < end:
            script.add(resumed, "call.resumed")

    def _goodbye(self) -> Ending:
        """How a talk ends: the caller or the callee hangs up."""
        return HUNG_UP if self._random() < 0.6 else PUT_DOWN

    def _talk_ms(self) -> int:
        """A random length of a talk in ms, distributed as TALK_S says."""
        _, shortest, longest = TALK_S[bisect(self._talk_bounds, self._random())]
        return self._between(shortest * SECOND_MS, longest * SECOND_MS)

    def _between(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low))

    def _node(self) -> int:
        return 1 + int(self._random() * self._nodes)

    def _agent(self, account: Account) -> int:
        return 1 + int(self._random() * account.agents)
