"""The events of one simulated call, written as JSON by hand. Times are ms since the Unix epoch.

All texts are ASCII without quotes and backslashes, so they need no escapes and no JSON library.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from operator import itemgetter
from typing import Final

from ecounters.windows.calendar import MINUTE_MS

Timed = tuple[int, bytes]
"""(when the event is published, its JSON)."""
Ending = tuple[int, str, str]
"""(status, endedBy, cause) of a call.ended event. ``status`` is a Q.850 cause, or a SIP status where Q.850 has none."""

HEARTBEAT_MS: Final = 5 * MINUTE_MS
"""Time between two call.heartbeat events of a call, the first one being due this long after its start."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-7)))


class Script:
    """The events of one call, collected while the call is written.

    ========================  ============================================================================
    ``call_id``, ``switch``   ids of the call and its switch; the switch is "" if it sends no switchId
    ``started``               when the call starts
    ``events``                the events so far, in the order of ``add``; ``end`` sorts them by time
    ``ended``                 when call.ended is published, after ``end``
    ``legs``                  number of legs dialed so far, which is also the id of the last one
    ``answered``              (leg, retry) of the legs that were answered: ``end`` ends them
    ``old_fashioned``         the switch writes times as text and numbers as strings
    ========================  ============================================================================
    """

    __slots__ = (
        "_crossing",
        "_head",
        "_ids",
        "_skew_ms",
        "answered",
        "call_id",
        "ended",
        "events",
        "legs",
        "old_fashioned",
        "started",
        "switch",
    )

    def __init__(self, call_id: str, user_id: str, switch: str, started: int, ids: Iterator[int]) -> None:
        self.call_id = call_id
        self.switch = switch
        self.started = started
        self.events: list[Timed] = []
        self.ended = 0
        self.legs = 0
        self.answered: list[tuple[int, int]] = []
        self.old_fashioned = False
        self._ids = ids
        self._skew_ms = 0
        self._crossing: tuple[int, int, int] | None = None
        switch_field = f',"switchId":"{switch}"' if switch else ""
        self._head = f'"userId":"{user_id}","callId":"{call_id}"{switch_field}'

    def set_switch(self, *, old_fashioned: bool, skew_ms: int) -> None:
        """Set how the switch writes, and by how many ms its clock is ahead. It holds for the events added later."""
        self.old_fashioned = old_fashioned
        self._skew_ms = skew_ms

    def add(self, at: int, kind: str, more: str = "") -> None:
        """Add an event of type ``kind`` that happens and is published at ``at``; its ``ts`` is that plus the skew.

        ``more``: further JSON fields, each with a comma before it.
        """
        ts = at + self._skew_ms
        stamp = f'"{rfc3339(ts)}"' if self.old_fashioned else ts
        line = f'{{"id":"e{next(self._ids):x}","type":"{kind}","ts":{stamp},{self._head}{more}}}'
        self.events.append((at, line.encode()))

    def number(self, value: int) -> str:
        """The JSON of a number, as this switch writes it."""
        return f'"{value}"' if self.old_fashioned else str(value)

    def dial(self, at: int, retry: int, node: int, agent: int) -> int:
        """Add leg.dialed of a new leg, to agent ``agent`` over media node ``node``. Returns the leg's id."""
        self.legs += 1
        self.leg(at, "leg.dialed", self.legs, retry, f',"nodeId":"n{node}","agentId":"a{agent}"')
        return self.legs

    def leg(self, at: int, kind: str, leg: int, retry: int, more: str = "") -> None:
        """Add an event of a leg. A ``retry`` of 0 is left out; an old-fashioned switch writes legId as a number."""
        leg_id = leg if self.old_fashioned else f'"{leg}"'
        retry_field = f',"retry":{self.number(retry)}' if retry else ""
        self.add(at, kind, f',"legId":{leg_id}{retry_field}{more}')

    def answer(self, at: int, leg: int, retry: int) -> None:
        """Add leg.answered. ``end`` will add the leg.ended, at the call's end."""
        self.leg(at, "leg.answered", leg, retry)
        self.answered.append((leg, retry))

    def cross(self, delay_ms: int, leg: int, retry: int) -> None:
        """Have ``end`` add a leg.answered ``delay_ms`` after the call's end, and the leg.ended some ms later."""
        self._crossing = (delay_ms, leg, retry)

    def end(self, at: int, ending: Ending) -> None:
        """Add the heartbeats before ``at``, leg.ended of the answered legs and call.ended; sort all events by time."""
        self.ended = at
        for beat in range(self.started + HEARTBEAT_MS, at, HEARTBEAT_MS):
            self.add(beat, "call.heartbeat")
        for leg, retry in self.answered:
            self.leg(at, "leg.ended", leg, retry)
        status, by, cause = ending
        self.add(at, "call.ended", f',"status":{self.number(status)},"endedBy":"{by}","cause":"{cause}"')
        if self._crossing is not None:
            delay_ms, leg, retry = self._crossing
            self.leg(at + delay_ms, "leg.answered", leg, retry)
            self.leg(at + delay_ms + 15, "leg.ended", leg, retry)
        self.events.sort(key=itemgetter(0))

    def drop_from(self, at: int) -> None:
        """Drop the events at and after ``at``, when the switch restarts."""
        self.events = [event for event in self.events if event[0] < at]


def rfc3339(ms: int) -> str:
    """A time as RFC 3339 text with ms, in one of three time zones that the time itself determines."""
    moment = (_EPOCH + timedelta(milliseconds=ms)).astimezone(_ZONES[ms % len(_ZONES)])
    return moment.isoformat(timespec="milliseconds")
