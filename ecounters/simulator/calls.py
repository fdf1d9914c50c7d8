"""Simulated calls: ``CallMaker`` writes all events of one call, from call.started to call.ended.

A call is written as a whole when it starts. Times are ms since the Unix epoch. All chance comes from
``random.Random.random()``, because Python promises that it returns the same numbers in later versions. The order of the
draws is part of the result: a draw that is added or moved changes all calls after it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from ecounters.simulator.accounts import Account
from ecounters.simulator.callers import number_field
from ecounters.simulator.script import Ending, Script
from ecounters.simulator.sections import ABANDONED, HUNG_UP, NO_ANSWER, NO_ROUTE, Sections
from ecounters.windows.calendar import SECOND_MS

PLAYED: Final[Ending] = (16, "system", "NORMAL_CLEARING")

KINDS: Final = (
    ("IBD", 0.46), ("OBD", 0.24), ("BRD", 0.12), ("CTC", 0.10), ("QC", 0.03), ("POOL", 0.02), ("MASK", 0.02),
    ("FLASH", 0.01),
)  # fmt: skip
"""(callType, its share of all calls)."""
GHOSTS: Final = 0.025
"""Share of the calls of switches that end without any ringing. Further calls ring nowhere because of UNREACHED."""
OLD_FASHIONED: Final = 0.015
"""Share of calls whose switch writes times as text, numbers as strings, and ids of legs as numbers."""
SIMPLE: Final = 0.15
"""Share of outbound calls (OBD and QC) that come from a gateway, which sends neither a switchId nor a legId."""
QUEUED: Final = 0.2
"""Share of inbound calls that wait on hold in a queue before a leg is dialed."""
RING_ALL: Final = 0.2
"""Share of inbound calls that ring a group of agents at once."""


class CallMaker:
    """Writes calls.

    ``random``: returns numbers of [0, 1), the only source of chance. ``ids``: the next number becomes the next event's
    id. ``nodes``: how many media nodes there are.
    """

    def __init__(self, random: Callable[[], float], ids: Iterator[int], nodes: int) -> None:
        self._random = random
        self._ids = ids
        self._sections = Sections(random, nodes)
        self._made = 0
        self._kinds = [kind for kind, _ in KINDS]
        self._kind_bounds = list(accumulate(share for _, share in KINDS))[:-1]
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

    def make(self, at: int, account: Account, switch: str, skew_ms: int = 0, call_id: str = "") -> Script:
        """Write one call of ``account`` on ``switch`` that starts at ``at``, up to its end.

        ``skew_ms``: how far the clock of the switch is ahead. ``call_id``: its id; "" for a new one. Some calls come
        from a gateway instead of ``switch``: see SIMPLE.
        """
        random = self._random
        kind = self._kinds[bisect(self._kind_bounds, random())]
        simple = kind in ("OBD", "QC") and random() < SIMPLE
        self._made += 1
        call_id = call_id or f"{'gw' if simple else switch}-{at}-{self._made:x}"
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
        return more + number_field(random, account.first_number + int(random() ** 2 * account.customers))

    # ------------------------------------------------------------------------------------- kinds of calls

    def _inbound(self, script: Script, at: int, account: Account) -> None:
        """Through an IVR, and perhaps a queue, to the agents, who ring one after the other or all at once."""
        random, sections = self._random, self._sections
        if random() < 0.85:
            at, hung_up = sections.ivr(script, at + sections.between(80, 400), account)
            if hung_up:
                script.end(at, HUNG_UP)
                return
        if random() < 0.03:
            script.add(at + 20, "call.forwarded", f',"to":"{account.dids[0]}"')
        if random() < QUEUED:
            at, hung_up = sections.queue(script, at + 40)
            if hung_up:
                script.end(at, ABANDONED)
                return
        at_once = random() < RING_ALL
        agents = 3 + int(random() * 8) if at_once else 1 + int(random() * min(4, account.agents))
        sections.connect(script, at + sections.between(50, 600), agents, account, at_once=at_once)

    def _outbound(self, script: Script, at: int, account: Account) -> None:
        self._sections.connect(script, at + self._sections.between(50, 600), 1, account)

    def _two_legs(self, script: Script, at: int, account: Account) -> None:
        """Click-to-call and masked numbers: connect one side first, then the other."""
        at, ending = self._sections.hunt(script, at + self._sections.between(50, 400), 1, 60 * SECOND_MS, account)
        if ending is None:
            self._sections.connect(script, at + self._sections.between(100, 800), 1, account)
        else:
            script.end(at, ending)

    def _broadcast(self, script: Script, at: int, account: Account) -> None:
        at, ending = self._sections.hunt(script, at + self._sections.between(50, 600), 1, 45 * SECOND_MS, account)
        if ending is None:
            if self._random() < 0.8:
                at, hung_up = self._sections.ivr(script, at + 40, account)
                ending = HUNG_UP if hung_up else PLAYED
            else:
                at, ending = at + self._sections.between(5_000, 40_000), PLAYED
        script.end(at, ending)

    def _pool(self, script: Script, at: int, account: Account) -> None:
        """Dial two to four agents at once."""
        self._sections.connect(script, at + 40, 2 + int(self._random() * 3), account, at_once=True)

    def _flash(self, script: Script, at: int, account: Account) -> None:
        """Ring for 1 to 3.5 s, so that the callee sees the number, and end. End at once if no leg rings."""
        at, leg, retry = self._sections.reach(script, at + 60, account)
        if leg:
            at += self._sections.between(1_000, 3_500)
            script.leg(at, "leg.ended", leg, retry)
        script.end(at, PLAYED if leg else NO_ROUTE)

    def _ghost(self, script: Script, at: int, account: Account) -> None:
        """End the call within 4 s without any ringing, with or without a dialed leg."""
        if self._random() < 0.4:
            script.dial(at + 90, 0, self._sections.node(), self._sections.agent(account))
        script.end(at + self._sections.between(150, 4_000), NO_ROUTE)

    def _simple(self, script: Script, at: int) -> None:
        """A call by a gateway: one leg, which has no legId, no leg.dialed and no leg.ended."""
        at += self._sections.between(800, 3_000)
        script.add(at, "leg.ringing")
        if self._random() < 0.55:
            at += self._sections.between(2_000, 20_000)
            script.add(at, "leg.answered")
            script.end(at + self._sections.talk_ms(), self._sections.goodbye())
        else:
            script.end(at + self._sections.between(15_000, 40_000), NO_ANSWER)
