"""What a drawn log has in it: which of the finer definitions decide something there.

A generator of logs that never makes a lifted end proves nothing about lifted ends. ``features`` tells what a log made.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ecounters.recount import parse as recount_parse
from ecounters.recount.call import lives
from ecounters.recount.recount import Recount
from tests.support.builders import LogRecord
from tests.support.log_strategies import PARTITIONS, Step

EVER = (0, 4_000_000_000_000)
SYSTEM_ENDS = ("-2", "-3")
CUT = ("did", "campaignId", "ivrId", "endedBy", "outcome", "number")


@dataclass
class _Seen:
    """The accepted events of one call, and its largest ts by events and snapshots that name it."""

    events: list[dict[str, Any]] = field(default_factory=list)
    heard: int = 0

    def of(self, *kinds: str, **own: Any) -> list[int]:
        """The ts of its events of these types with these fields."""
        return [e["ts"] for e in self.events if e["type"] in kinds and own.items() <= e.items()]


def features(steps: list[Step]) -> set[str]:
    """The names of what a log has on one of its partitions."""
    return {name for partition in range(PARTITIONS) for name in _Watch(partition).names(steps)}


class _Watch:
    """Reads the log of one partition into a recount, and looks at it before and after each record."""

    def __init__(self, partition: int) -> None:
        self._recount = Recount(partition, PARTITIONS)
        self._calls: dict[tuple[str, str], _Seen] = defaultdict(_Seen)
        self._erased: set[tuple[str, str]] = set()
        self._spellings: dict[tuple[str, str], set[str]] = defaultdict(set)

    def names(self, steps: list[Step]) -> Iterator[str]:
        for step in (step for step in steps if step.partition == self._recount.partition):
            if step.record is not None:
                yield from self._record(step.record)
            elif step.what == "cut" and any(self._ends(user) for user, _ in self._calls):
                yield "saved with a system end"
        for (user, _), call in self._calls.items():
            yield from self._of_call(call)
            answer = self._recount.answer(user, *EVER)
            yield from (name for name in ("CHSR", "repeatCall", "freshCall") if answer[name])
            if any(key.endswith(" digits") for key in dict(answer["DTMF"])):  # type: ignore[arg-type]
                yield "digits that are replaced"
        if any(len(written) > 1 for written in self._spellings.values()):
            yield "one number in several spellings"

    def _ends(self, user: str) -> int:
        """How many calls of a user the system ended."""
        return sum(self._cst(user).get(status, 0) for status in SYSTEM_ENDS)

    def _cst(self, user: str) -> dict[str, int]:
        return dict(self._recount.answer(user, *EVER)["CST"])  # type: ignore[arg-type]

    def _record(self, record: LogRecord) -> Iterator[str]:
        recount = self._recount
        refused, misrouted = len(recount.refused), len(recount.misrouted)
        try:
            event = recount_parse.parse(record.value)
        except recount_parse.Bad:
            event = {}
        user = event.get("userId", "")
        before, suspected = self._cst(user), recount.suspected(user)
        calls = recount.answer(user, *EVER)["TC"]
        recount.read([(record.offset, record.timestamp, record.value)])
        yield from (reason for _, reason, _ in recount.refused[refused:])
        yield from self._second_call(event, recount.refused[refused:])
        if len(recount.refused) > refused or len(recount.misrouted) > misrouted:
            return
        if not record.timestamp:
            yield "without a stamp of the broker"
        kind, after = event["type"], self._cst(user)
        fewer = {status for status, count in before.items() if after.get(status, 0) < count}
        if kind == "account.erased":
            yield from ["an erasure of calls"] if calls else []
            self._erased.update(key for key in self._calls if key[0] == user)
            self._calls = defaultdict(_Seen, {key: seen for key, seen in self._calls.items() if key[0] != user})
        elif kind == "switch.snapshot":
            yield from (f"a snapshot lifts {status}" for status in fewer)
            if recount.suspected(user) < suspected:
                yield "a snapshot wakes a suspected call"
            yield from self._snapshot(event)
        elif "callId" in event:
            yield from (f"{kind if kind == 'call.ended' else 'an event'} lifts {status}" for status in fewer)
            yield from self._of_event(event, json.loads(record.value or b""))

    def _second_call(self, event: dict[str, Any], refused: list[tuple[int, str, str]]) -> Iterator[str]:
        recount, kind = self._recount, event.get("type", "")
        account = recount._users.get(event.get("userId", ""))
        for call_id in event.get("callIds", (event.get("callId"),)):
            call = account.calls.get(call_id) if account is not None else None
            if call is None or call.next_call is None:
                continue
            if [reason for _, reason, _ in refused] == ["call_id_reused"] and kind != "call.started":
                yield "an event of a second call"
                if lives(call, recount.watermark, recount.limits):
                    yield "an event of a second call while the first lives"
            elif not refused and "callIds" in event:
                yield f"a snapshot {'names' if event['ts'] >= call.next_call else 'of before'} a second call"
            elif not refused:
                yield "a late event of a first call"

    def _snapshot(self, event: dict[str, Any]) -> Iterator[str]:
        for (user, call_id), call in self._calls.items():
            if user != event["userId"]:
                continue
            if call_id in event["callIds"]:
                if call.of("call.started") and not call.of("call.ended") and event["ts"] > call.heard:
                    yield "a snapshot is a heartbeat"
                call.heard = max(call.heard, event["ts"])
                if not call.of("call.started"):
                    yield "a snapshot names a call without a start"
            elif (
                min(call.of("call.started", switchId=event["switchId"]), default=event["ts"] + 1) <= event["ts"]
                and not call.of("call.ended")
                and call.heard > event["ts"]
            ):
                yield "a snapshot of the past ends nothing"

    def _of_event(self, event: dict[str, Any], raw: dict[str, Any]) -> Iterator[str]:
        key = event["userId"], event["callId"]
        if key in self._erased:
            yield "an event of an erased call"
        if any(len(str(raw.get(name, ""))) > 128 for name in CUT):
            yield "a text that is cut"
        if "number" in raw and "number" not in event:
            yield "a hidden number"
        if "number" in event:
            self._spellings[event["userId"], event["number"]].add(str(raw["number"]))
        if "cause" in raw and not isinstance(raw["cause"], str):
            yield "an unread field that holds anything"
        call = self._calls[key]
        call.events.append(event)
        call.heard = max(call.heard, event["ts"])

    def _of_call(self, call: _Seen) -> Iterator[str]:
        rings, answers, ends = call.of("leg.ringing"), call.of("leg.answered"), call.of("call.ended")
        if not call.of("call.started"):
            return
        elsewhere = {e.get("legId", "1") for e in call.events if e.get("outcome") == "elsewhere"}
        for kind in ("ringing", "answered"):
            if elsewhere & {e.get("legId", "1") for e in call.events if e["type"] == f"leg.{kind}"}:
                yield f"elsewhere after leg.{kind}"
        if ends and answers and min(answers) > min(ends):
            yield "an answer after the end"
        if ends and answers and min(answers) == min(ends):
            yield "an answer at the end"
        if answers and min(call.of("call.held"), default=min(answers)) < min(answers):
            yield "a hold before the answer"
        if rings and min(call.of("call.ended", endedBy="caller"), default=min(rings)) < min(rings):
            yield "a ring after the caller's hang-up"
        for both in (("call.held", "call.resumed"), ("ivr.entered", "ivr.left")):
            first, other = ({(e["ts"], e["id"]) for e in call.events if e["type"] == kind} for kind in both)
            if first & other:
                yield f"{both[0]} and {both[1]} of one id and ts"


FEATURES = (
    "an event lifts -2", "an event lifts -3", "call.ended lifts -2", "call.ended lifts -3", "an event lifts -1",
    "a snapshot lifts -2", "a snapshot lifts -3", "a snapshot lifts -1", "a snapshot is a heartbeat",
    "a snapshot wakes a suspected call", "a snapshot names a call without a start",
    "a snapshot of the past ends nothing", "saved with a system end", "elsewhere after leg.ringing",
    "elsewhere after leg.answered", "an answer after the end", "an answer at the end", "a hold before the answer",
    "call.held and call.resumed of one id and ts", "ivr.entered and ivr.left of one id and ts", "CHSR",
    "a ring after the caller's hang-up", "repeatCall", "freshCall", "a hidden number",
    "one number in several spellings", "digits that are replaced", "a text that is cut", "call_id_reused", "late",
    "clock_ahead", "an unread field that holds anything", "an erasure of calls", "an event of an erased call",
    "without a stamp of the broker", "an event of a second call", "an event of a second call while the first lives",
    "a snapshot names a second call", "a snapshot of before a second call", "a late event of a first call",
)  # fmt: skip
"""What drawn logs must have, each in some of them."""
