"""The sections of which simulated calls are made: IVR, queue, ringing, talk.

``CallMaker`` puts them together. Times are ms since the Unix epoch. A section begins at a time ``at``, adds its events
to the call's script, and returns when it is over.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from ecounters.simulator.accounts import Account
from ecounters.simulator.script import Ending, Script
from ecounters.windows.calendar import SECOND_MS

HUNG_UP: Final[Ending] = (16, "caller", "NORMAL_CLEARING")
PUT_DOWN: Final[Ending] = (16, "callee", "NORMAL_CLEARING")
ABANDONED: Final[Ending] = (487, "caller", "ORIGINATOR_CANCEL")
BUSY: Final[Ending] = (17, "callee", "USER_BUSY")
NO_ANSWER: Final[Ending] = (19, "system", "NO_ANSWER")
NO_ROUTE: Final[Ending] = (34, "system", "NO_CIRCUIT")

TALK_S: Final = (
    (0.150, 3, 15), (0.400, 15, 120), (0.317, 120, 280), (0.120, 280, 800), (0.011, 800, 2_800), (0.002, 7_300, 10_700),
)  # fmt: skip
"""(share of all talks, shortest, longest length in s). The mean is about 3 minutes; 2 of 1,000 exceed 2 hours."""
UNREACHED: Final = (0.06, 0.35, 0.35)
"""Share of legs that never ring: of first tries, of first retries, of second retries. There is no third retry."""
IMPATIENT: Final = 0.07
"""Share of callers who wait less than 5 s from the first ring on, and hang up if nobody answers before."""
CROSSED: Final = 0.1
"""Share of callers' hang-ups amid ringing that cross an answer: the switch sends leg.answered some ms after call.ended,
because its CANCEL met the 200 OK of the phone."""
CROSSING_MS: Final = (5, 90)
"""(least, most) ms from such a call.ended to the leg.answered."""
ELSEWHERE_MS: Final = (5, 100)
"""(least, most) ms from an answer in a ring group to the leg.ended of each other leg, whose outcome is "elsewhere"."""
LONG_INPUT: Final = 0.05
"""Share of DTMF inputs that are no choice of a menu but 5 to 16 digits, as those of an account number."""


class Sections:
    """Writes sections of calls.

    ``random``: returns numbers of [0, 1), the only source of chance. ``nodes``: how many media nodes there are.
    """

    def __init__(self, random: Callable[[], float], nodes: int) -> None:
        self._random = random
        self._nodes = nodes
        self._talk_bounds = list(accumulate(share for share, _, _ in TALK_S))[:-1]

    # -------------------------------------------------------------------------------------------- before agents

    def ivr(self, script: Script, at: int, account: Account) -> tuple[int, bool]:
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
            at += self.between(1_500, 9_000)
            while random() < 0.6:
                digits = self._digits()
                valid = ',"valid":false' if random() < 0.12 else ',"valid":true' if random() < 0.5 else ""
                script.add(at, "dtmf.received", f',"digits":"{digits}"{valid},"ivrId":"{ivr}"')
                at += self.between(1_000, 7_000)
            if random() < 0.05:
                return at, True
        for ivr in reversed(inside):
            script.add(at, "ivr.left", f',"ivrId":"{ivr}"')
        return at, False

    def _digits(self) -> str:
        """What the caller keys in: mostly a choice of a menu, sometimes a long input, an extension, # or *."""
        random = self._random
        if random() < LONG_INPUT:
            length = 5 + int(random() * 12)
            return f"{int(random() * 10**length):0{length}d}"
        chance = random()
        if chance < 0.9:
            return str(int(chance**2 * 7) + 1)
        return str(int(chance * 10_000)) if chance < 0.96 else "#" if chance < 0.98 else "*"

    def queue(self, script: Script, at: int) -> tuple[int, bool]:
        """Wait on hold, before any leg, until an agent is free.

        Returns (time, whether the caller hung up meanwhile). After a hang-up the hold has no call.resumed, and the
        caller of this method must end the call.
        """
        script.add(at, "call.held")
        at += self.between(3_000, 90_000)
        if self._random() < 0.08:
            return at, True
        script.add(at, "call.resumed")
        return at, False

    # ------------------------------------------------------------------------------------------------- ringing

    def connect(self, script: Script, at: int, agents: int, account: Account, *, at_once: bool = False) -> None:
        """Ring up to ``agents`` agents, one after the other or ``at_once``; if one answers, talk.

        Ends the call in any case.
        """
        impatient = self._random() < IMPATIENT
        patience = self.between(400, 4_900) if impatient else self.between(20_000, 140_000)
        ring = self.ring_all if at_once else self.hunt
        at, ending = ring(script, at, agents, patience, account)
        if ending is None:
            self._talk(script, at, account)
        else:
            script.end(at, ending)

    def hunt(
        self, script: Script, at: int, agents: int, patience_ms: int, account: Account
    ) -> tuple[int, Ending | None]:
        """Ring up to ``agents`` agents, one after the other, until one answers.

        ``patience_ms``: how long the caller waits from the first ring on. Returns (time, None) if an agent answered.
        Else returns (time, ending): the caller of this method must write that end of the call.
        """
        random = self._random
        gives_up = 0
        for _ in range(agents):
            at, leg, retry = self.reach(script, at, account)
            if not leg:
                return at, NO_ROUTE
            gives_up = max(gives_up, at) if gives_up else at + patience_ms
            answers = random() < 0.6
            rung = at + (self.between(1_500, 14_000) if answers else self.between(8_000, 26_000))
            if gives_up < rung:
                self._give_up(script, gives_up, [(leg, retry)])
                return gives_up, ABANDONED
            at = rung
            if answers:
                script.answer(at, leg, retry)
                return at, None
            script.leg(at, "leg.ended", leg, retry)
            at += self.between(50, 450)
        return at, BUSY if random() < 0.3 else NO_ANSWER

    def ring_all(
        self, script: Script, at: int, agents: int, patience_ms: int, account: Account
    ) -> tuple[int, Ending | None]:
        """Ring ``agents`` agents at once. Mostly one answers, and the legs of the others end "elsewhere".

        A leg that cannot be reached ends without ringing, and is not tried again. The result is that of ``hunt``.
        """
        random = self._random
        ringing: list[tuple[int, int]] = []
        for _ in range(agents):
            leg = script.dial(at, 0, self.node(), self.agent(account))
            if random() < UNREACHED[0]:
                script.leg(at + self.between(50, 250), "leg.ended", leg, 0)
            else:
                script.leg(at + self.between(100, 400), "leg.ringing", leg, 0)
                ringing.append((leg, 0))
        at += 400
        if not ringing:
            return at, NO_ROUTE
        answers = random() < 0.85
        rung = at + (self.between(1_000, 16_000) if answers else self.between(20_000, 40_000))
        if at + patience_ms < rung:
            at += patience_ms
            self._give_up(script, at, ringing)
            return at, ABANDONED
        at = rung
        if not answers:
            for leg, retry in ringing:
                script.leg(at, "leg.ended", leg, retry)
            return at, NO_ANSWER
        script.answer(at, *ringing.pop(int(random() * len(ringing))))
        for leg, retry in ringing:
            script.leg(at + self.between(*ELSEWHERE_MS), "leg.ended", leg, retry, ',"outcome":"elsewhere"')
        return at, None

    def _give_up(self, script: Script, at: int, ringing: list[tuple[int, int]]) -> None:
        """The caller hangs up at ``at`` while legs ring: end the legs. Some switches send no leg.ended then.

        For a share of CROSSED, the last leg is answered at the same time, and ``script`` writes that after the end.
        """
        *others, last = ringing
        if self._random() < CROSSED:
            script.cross(self.between(*CROSSING_MS), *last)
            ringing = others
        for leg, retry in ringing:
            if self._random() < 0.7:
                script.leg(at, "leg.ended", leg, retry)

    def reach(self, script: Script, at: int, account: Account) -> tuple[int, int, int]:
        """Dial an agent until a leg rings, at most three times, each time with a new leg over the next media node.

        Returns (time, leg, retry) of the leg that rings, or (time, 0, 0) if none does.
        """
        node, agent = self.node(), self.agent(account)
        for retry, unreached in enumerate(UNREACHED):
            leg = script.dial(at, retry, node, agent)
            if self._random() >= unreached:
                at += self.between(200, 1_800)
                script.leg(at, "leg.ringing", leg, retry)
                return at, leg, retry
            at += self.between(300, 2_500)
            script.leg(at, "leg.ended", leg, retry)
            at += 100
            node = node % self._nodes + 1
        return at, 0, 0

    # ---------------------------------------------------------------------------------------------------- talk

    def _talk(self, script: Script, at: int, account: Account) -> None:
        """Talk from ``at`` on, perhaps with a hold, a transfer or both, and end the call."""
        random = self._random
        end = at + self.talk_ms()
        if end - at > 20_000 and random() < 0.14:
            self._hold(script, self.between(at + 5_000, end - 5_000), end)
        if end - at > 30_000 and random() < 0.05:
            transferred = self.between(at + 10_000, end - 15_000)
            script.add(transferred, "call.transferred", f',"to":"a{self.agent(account)}"')
            ringing, leg, retry = self.reach(script, transferred + 50, account)
            if leg and ringing + 2_000 < end:
                script.answer(ringing + 2_000, leg, retry)
        script.end(max(end, script.events[-1][0]), self.goodbye())

    def _hold(self, script: Script, at: int, end: int) -> None:
        """Hold the call at ``at``, and resume it 3 to 90 s later if that is before the end of the talk, ``end``."""
        script.add(at, "call.held")
        resumed = at + self.between(3_000, 90_000)
        if resumed < end:
            script.add(resumed, "call.resumed")

    def goodbye(self) -> Ending:
        """How a talk ends: the caller or the callee hangs up."""
        return HUNG_UP if self._random() < 0.6 else PUT_DOWN

    def talk_ms(self) -> int:
        """A random length of a talk in ms, distributed as TALK_S says."""
        _, shortest, longest = TALK_S[bisect(self._talk_bounds, self._random())]
        return self.between(shortest * SECOND_MS, longest * SECOND_MS)

    # -------------------------------------------------------------------------------------------------- chance

    def between(self, low: int, high: int) -> int:
        """A random whole number from ``low`` to below ``high``."""
        return low + int(self._random() * (high - low))

    def node(self) -> int:
        """A random media node."""
        return 1 + int(self._random() * self._nodes)

    def agent(self, account: Account) -> int:
        """A random agent of the account."""
        return 1 + int(self._random() * account.agents)
