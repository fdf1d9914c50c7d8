"""The events of one made-up call, as they are written down. Times are ms since the Unix epoch.

All texts are plain ASCII that needs no escapes, so events are written without a JSON library.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from operator import itemgetter
from typing import Final

from ecounters.windows.calendar import MINUTE_MS

Timed = tuple[int, bytes]
"""When an event is published, and its JSON."""
Ending = tuple[int, str, str]
"""status (of Q.850, or SIP's where that has none), endedBy, cause."""

HEARTBEAT_MS: Final = 5 * MINUTE_MS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-7)))


class Script:
    """The events of one call, being written."""

    __slots__ = ("_head", "_ids", "_skew_ms", "answered", "call_id", "events", "legs", "old", "started", "switch")

    def __init__(self, call_id: str, user_id: str, switch: str, started: int, ids: Iterator[int]) -> None:
        self.call_id = call_id
        self.switch = switch
        self.started = started
        self.events: list[Timed] = []
        self.legs = 0
        self.answered: list[tuple[int, int]] = []
        self.old = False
        self._ids = ids
        self._skew_ms = 0
        by = f',"switchId":"{switch}"' if switch else ""
        self._head = f'"userId":"{user_id}","callId":"{call_id}"{by}'

    @property
    def ended(self) -> int:
        """When the last event is; after ``end``, the call's end."""
        return self.events[-1][0]

    def told_by(self, *, old: bool, skew_ms: int) -> None:
        """Before the first event: whether the switch is old-fashioned, and how far its clock is ahead."""
        self.old = old
        self._skew_ms = skew_ms

    def add(self, at: int, kind: str, more: str = "") -> None:
        """An event. ``more``: further fields, each with a comma before it."""
        ts = at + self._skew_ms
        stamp = f'"{rfc3339(ts)}"' if self.old else ts
        line = f'{{"id":"e{next(self._ids):x}","type":"{kind}","ts":{stamp},{self._head}{more}}}'
        self.events.append((at, line.encode()))

    def number(self, value: int) -> str:
        """A number as this switch writes it."""
        return f'"{value}"' if self.old else str(value)

    def dial(self, at: int, retry: int, node: int, agent: int) -> int:
        """Set up the next leg; returns its number."""
        self.legs += 1
        self.leg(at, "leg.dialed", self.legs, retry, f',"nodeId":"n{node}","agentId":"a{agent}"')
        return self.legs

    def leg(self, at: int, kind: str, leg: int, retry: int, more: str = "") -> None:
        """An event of a leg. Old-fashioned is also to have the leg's number as a number."""
        name = leg if self.old else f'"{leg}"'
        again = f',"retry":{self.number(retry)}' if retry else ""
        self.add(at, kind, f',"legId":{name}{again}{more}')

    def answer(self, at: int, leg: int, retry: int) -> None:
        """The leg is answered and stays up until the call's end."""
        self.leg(at, "leg.answered", leg, retry)
        self.answered.append((leg, retry))

    def end(self, at: int, ending: Ending) -> None:
        """The legs that are up end, and the call; puts everything in the order of time."""
        for beat in range(self.started + HEARTBEAT_MS, at, HEARTBEAT_MS):
            self.add(beat, "call.heartbeat")
        for leg, retry in self.answered:
            self.leg(at, "leg.ended", leg, retry)
        status, by, cause = ending
        self.add(at, "call.ended", f',"status":{self.number(status)},"endedBy":"{by}","cause":"{cause}"')
        self.events.sort(key=itemgetter(0))

    def take_changes(self, at: int) -> None:
        """The switch fell over at that time: nothing is heard of the call from then on."""
        self.events = [event for event in self.events if event[0] < at]


def rfc3339(ms: int) -> str:
    """A time as text, in one of several zones."""
    moment = (_EPOCH + timedelta(milliseconds=ms)).astimezone(_ZONES[ms % len(_ZONES)])
    return moment.isoformat(timespec="milliseconds")
