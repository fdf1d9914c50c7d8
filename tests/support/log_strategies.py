"""Hypothesis strategies for logs: all types of events, few names, times at and around every limit.

A drawn log is a list of ``Step``: a record arrives on a partition, or the state is asked, saved, rolled up, or time
passes. Its events are drawn one by one or, about half of them, in ``log_scenes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from ecounters.events.partitioner import partition_of
from tests.support.builders import T0_MS, Event, LogRecord, encoded
from tests.support.log_scenes import SCENES, SceneEvent

PARTITIONS: Final = 2
USERS: Final = ("u1", "u2", "u3", "u4")

KINDS: Final = (
    "call.started", "call.started", "call.started", "leg.dialed", "leg.ringing", "leg.ringing", "leg.answered",
    "leg.answered", "leg.ended", "ivr.entered", "ivr.entered", "ivr.left", "dtmf.received", "call.held", "call.resumed",
    "call.transferred", "call.forwarded", "call.heartbeat", "call.ended", "call.ended", "balance.updated",
    "switch.snapshot", "switch.restarted", "account.erased",
)  # fmt: skip

OF_NO_CALL: Final = ("account.", "balance.", "switch.")
"""How the types of events begin that belong to no call."""

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
STEPS_MS: Final = (
    0, 0, 0, 1, 1_000, 4_999, 5_000, _MINUTE, 5 * _MINUTE, 15 * _MINUTE - 1, 15 * _MINUTE, _HOUR, 2 * _HOUR - 1,
    2 * _HOUR, 4 * _HOUR - 1, 4 * _HOUR, 24 * _HOUR, 28 * _HOUR,
)  # fmt: skip
"""By how much the time of the log goes on from one event to the next."""
BACK_MS: Final = (
    0, 0, 0, 0, 0, 1, 5_000, _MINUTE, 15 * _MINUTE - 1, 15 * _MINUTE, _HOUR, 4 * _HOUR, 24 * _HOUR, -_MINUTE,
    -5 * _MINUTE, -5 * _MINUTE - 1,
)  # fmt: skip
"""How far an event's ts is behind its arrival; negative: ahead of it."""
SHORT_MS: Final = (0, 0, 1, 1_000, 4_999, 5_000, 20_000)
"""Steps of a log whose events are all within the linger."""

_POOLS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "call.started": {
        "callType": ("IBD", "OBD", "CTC"),
        "campaignId": (None, 0, "7", 7, -1, "spring", "y" * 130),
        "did": (None, "", "1800", 1801, "1" * 130, "1" * 128 + "2"),
        "number": (
            None, "+15550001111", "+15550002222", 15550003333, "0015550001111", "tel:+1-555-000-1111", "WithHeld",
            "sip:+15550001111@pbx.example.invalid;user=phone", "+1 (555) 000.1111", "sip:anonymous@x", "5" * 129,
        ),
        "switchId": (None, "s1", "s2"),
    },
    "leg.ended": {
        "legId": (None, "1", 2, "2", "3"),
        "retry": (None, None, 0, 1, "2"),
        "outcome": (None, None, "elsewhere", "Elsewhere", "busy", "elsewhere" * 20),
    },
    "leg": {"legId": (None, "1", 2, "2", "3"), "retry": (None, None, 0, 1, "2")},
    "ivr": {"ivrId": ("menu", "5", 5, "queue")},
    "dtmf": {
        "digits": ("1", 1, "2#", "*", "1234", 12345, "54321", "9" * 130),
        "valid": (None, True, False),
        "ivrId": (None, "", "menu", 5, "m" * 129),
    },
    "call.ended": {
        "status": (16, "16", 3, 0, -1), "endedBy": (None, "caller", "callee", "caller" * 30), "cause": (None, ["any"]),
    },
    "balance.updated": {"balance": (0, 1, 2.5, "-3"), "callBalance": (None, 7, "0.25")},
    "switch.restarted": {"switchId": ("s1", "s2")},
    "switch.snapshot": {
        "switchId": ("s1", "s2"), "callIds": ([], ["c0"], ["c1", "c2"], ["c0", "c1", "c2", "c3", "c9"]),
    },
}  # fmt: skip

BROKEN: Final = (None, b"", b"{", b"[]", b"{}", b'{"type":"call.sung"}', b'{"type":"call.held","id":"1","ts":1}')


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a log. ``what``: "event", "look" (ask), "cut" (save), "pass" (time passes) or "roll" (roll up).

    ``number``: a drawn number that chooses the details of a step without a record.
    """

    what: str
    partition: int = 0
    record: LogRecord | None = None
    number: int = 0


def made_event(kind: str, call: int, user: int, ts: int, pick: int, event_id: str) -> Event:
    """An event of a type, with a call and user chosen by index; ``pick`` chooses the values of its own fields."""
    made: Event = {"type": kind, "id": event_id, "ts": ts, "userId": USERS[user]}
    if not kind.startswith(OF_NO_CALL):
        made["callId"] = f"c{call}"
    pool = _POOLS.get(kind) or _POOLS.get(kind.split(".")[0]) or {}
    for name, values in pool.items():
        pick, at = divmod(pick, len(values))
        if values[at] is not None:
            made[name] = values[at]
    if kind == "switch.restarted" and pick % 2:
        del made["userId"]
    return made


_DISTURBED: Final = ("", "", "", "", "", "", "", "", "skipped", "twice", "at once", "last")
"""What happens to one event of a scene. "last": it comes after all others."""


def _in_scene(scene: tuple[SceneEvent, ...], pick: int) -> Iterator[SceneEvent]:
    """The events of a scene as they come; ``pick`` chooses what is disturbed."""
    last = []
    for one in scene:
        pick, at = divmod(pick, len(_DISTURBED))
        how = _DISTURBED[at]
        if how == "last":
            last.append(one)
        elif how != "skipped":
            yield one._replace(step_ms=0) if how == "at once" else one
            if how == "twice":
                yield one._replace(step_ms=0)
    yield from last


_ALONE: Final = (None,) * (len(SCENES) + len(SCENES) // 4)
_drawn = st.tuples(
    st.sampled_from(_ALONE + tuple(SCENES)),
    st.sampled_from(KINDS),
    st.integers(0, 3),
    st.integers(0, len(USERS) - 1),
    st.sampled_from(STEPS_MS),
    st.sampled_from(BACK_MS),
    st.integers(0, 10**9),
    st.integers(0, 39),
)


class _Log:
    """A log that is being drawn: its steps, the values so far, and the time."""

    def __init__(self, stamped: bool) -> None:
        self._stamped = stamped
        self.steps: list[Step] = []
        self._values: list[tuple[bytes | None, int | None]] = []
        self._offsets = [0] * PARTITIONS
        self._now = T0_MS

    def add(self, one: SceneEvent, call: int, user: int, pick: int, event_id: str, oddity: int) -> None:
        """Add an event, or what its oddity makes of it, and perhaps a step without a record after it."""
        self._now += one.step_ms
        event = {**made_event(one.kind, call, user, self._now - one.back_ms, pick, event_id), **one.own}
        home = partition_of(event["userId"], PARTITIONS) if "userId" in event else None
        value: bytes | None = encoded(event)
        if oddity == 0:
            value, home = BROKEN[pick % len(BROKEN)], 0
        elif oddity in (1, 2, 3) and self._values:
            value, home = self._values[pick % len(self._values)]
        elif oddity == 4 and home is not None:
            home = 1 - home
        self._values.append((value, home))
        for partition in range(PARTITIONS) if home is None else (home,):
            timestamp = self._now if self._stamped and oddity != 18 else 0
            self.steps.append(Step("event", partition, LogRecord(self._offsets[partition], timestamp, value)))
            self._offsets[partition] += 1 + (oddity == 5)
        if oddity in range(6, 18):
            what = ("look", "cut", "pass", "pass", "roll", "cut")[oddity % 6]
            partition = pick % PARTITIONS if home is None else home
            self.steps.append(Step(what, partition, number=pick % 10**6))


@st.composite
def chaotic(draw: st.DrawFn, most: int = 35, *, stamped: bool = True) -> list[Step]:
    """A log of four users on two partitions, with duplicates, misrouted and broken messages and all other steps.

    A few records have no timestamp of the broker; without ``stamped``, those of some logs have none at all. ``most``:
    the largest number of events and scenes.
    """
    log = _Log(stamped or draw(st.booleans()))
    size = draw(st.integers(1, most))  # drawn first: hypothesis draws short lists if no length is given
    for at, (scene, kind, call, user, step, back, pick, oddity) in enumerate(
        draw(st.lists(_drawn, min_size=size, max_size=size))
    ):
        if scene is None:
            log.add(SceneEvent(kind, step, back_ms=back), call, user, pick, f"{pick % 97}-{at}", oddity)
            continue
        events = list(_in_scene(SCENES[scene], pick))
        for nth, one in enumerate(events):
            event_id = f"s{at}" if one.same_id else f"{pick % 97}-{at}-{nth}"
            odd = oddity if nth == pick % len(events) else 39
            log.add(one, (call + one.call) % 4, user, pick // 3**nth, event_id, odd)
    return log.steps


OF_ONE_ID: Final = ("call.held", "call.resumed", "ivr.entered", "ivr.left", "dtmf.received")
"""Types of which one call may have several events with one id and one ts, in any order."""


@st.composite
def harmless(draw: st.DrawFn) -> list[Event]:
    """Events of calls within 14 minutes, sorted by time. In any order none of them is refused.

    No switch ends a call and no account is erased, and no call is started after it has ended: for these the order of
    the log decides.
    """
    events: list[Event] = []
    now = T0_MS
    ended: set[tuple[int, int]] = set()
    kinds = st.sampled_from([kind for kind in KINDS if not kind.startswith(("switch.", "account."))])
    short = st.sampled_from(SHORT_MS)
    one = st.tuples(kinds, st.integers(0, 2), st.integers(0, 1), short, st.integers(0, 10**6))
    size = draw(st.integers(1, 40))
    for at, (kind, call, user, step, pick) in enumerate(draw(st.lists(one, min_size=size, max_size=size))):
        now += step
        if kind == "call.started" and (call, user) in ended:
            kind = "call.heartbeat"
        elif kind == "call.ended":
            ended.add((call, user))
        event_id = f"{pick % 3}" if kind in OF_ONE_ID else f"{pick % 9}-{at}"
        events.append(made_event(kind, call, user, now, pick, event_id))
    return events
