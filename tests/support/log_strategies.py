"""Hypothesis strategies for logs: all types of events, few names, times at and around every limit.

A drawn log is a list of ``Step``: a record arrives on a partition, or the state is asked, saved, rolled up, or time
passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from ecounters.events.partitioner import partition_of
from tests.support.builders import T0_MS, Event, LogRecord, encoded

PARTITIONS: Final = 2
USERS: Final = ("u1", "u2", "u3", "u4")

KINDS: Final = (
    "call.started", "call.started", "call.started", "leg.dialed", "leg.ringing", "leg.ringing", "leg.answered",
    "leg.answered", "leg.ended", "ivr.entered", "ivr.entered", "ivr.left", "dtmf.received", "call.held", "call.resumed",
    "call.transferred", "call.forwarded", "call.heartbeat", "call.ended", "call.ended", "balance.updated",
    "switch.snapshot", "switch.restarted", "account.erased",
)  # fmt: skip
OF_NO_CALL: Final = ("account.", "balance.", "switch.")
"""How the names of types begin whose events belong to no call."""

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
        "campaignId": (None, 0, "7", 7, -1, "spring"),
        "did": (None, "", "1800", 1801),
        "number": (
            None,
            "+15550001111",
            "+15550002222",
            15550003333,
            "sip:+1-555-000-1111@pbx;user=phone",
            "0015550002222",
            "Anonymous",
        ),
        "switchId": (None, "s1", "s2"),
    },
    "leg": {
        "legId": (None, "1", 2, "2", "3"),
        "retry": (None, None, 0, 1, "2"),
        "outcome": (None, None, None, "elsewhere", "busy"),
    },
    "ivr": {"ivrId": ("menu", "5", 5, "queue")},
    "dtmf": {
        "digits": ("1", 1, "2#", "*", "12345", 54321),
        "valid": (None, True, False),
        "ivrId": (None, "", "menu", 5),
    },
    "call.ended": {"status": (16, "16", 3, 0, -1), "endedBy": (None, "caller", "callee")},
    "balance.updated": {"balance": (0, 1, 2.5, "-3"), "callBalance": (None, 7, "0.25")},
    "switch.restarted": {"switchId": ("s1", "s2")},
    "switch.snapshot": {"switchId": ("s1", "s2"), "callIds": ([], ["c0"], ["c1", "c2"], ["c0", "c1", "c2", "c3"])},
}

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


_drawn = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 3),
    st.integers(0, len(USERS) - 1),
    st.sampled_from(STEPS_MS),
    st.sampled_from(BACK_MS),
    st.integers(0, 10**6),
    st.integers(0, 39),
)


@st.composite
def chaotic(draw: st.DrawFn, most: int = 60, *, stamped: bool = True) -> list[Step]:
    """A log of four users on two partitions, with duplicates, misrouted and broken messages and all other steps.

    Each record has the timestamp of the broker; without ``stamped`` those of some logs have none.
    """
    steps: list[Step] = []
    values: list[tuple[bytes | None, int | None]] = []
    offsets = [0] * PARTITIONS
    now = T0_MS
    stamped = stamped or draw(st.booleans())
    size = draw(st.integers(1, most))  # drawn first: hypothesis draws short lists if no length is given
    for at, (kind, call, user, step, back, pick, oddity) in enumerate(
        draw(st.lists(_drawn, min_size=size, max_size=size))
    ):
        now += step
        event = made_event(kind, call, user, now - back, pick, str(pick % 97) + "-" + str(at))
        home = partition_of(event["userId"], PARTITIONS) if "userId" in event else None
        value: bytes | None = encoded(event)
        if oddity == 0:
            value, home = BROKEN[pick % len(BROKEN)], 0
        elif oddity in (1, 2, 3) and values:
            value, home = values[pick % len(values)]
        elif oddity == 4 and home is not None:
            home = 1 - home
        values.append((value, home))
        for partition in range(PARTITIONS) if home is None else (home,):
            steps.append(Step("event", partition, LogRecord(offsets[partition], now if stamped else 0, value)))
            offsets[partition] += 1 + (oddity == 5)
        if oddity in range(6, 18):
            what = ("look", "cut", "pass", "pass", "roll", "look")[oddity % 6]
            steps.append(Step(what, oddity % PARTITIONS, number=pick))
    return steps


@st.composite
def harmless(draw: st.DrawFn) -> list[Event]:
    """Events of calls within 14 minutes, sorted by time. In any order none of them is late or starts another call."""
    events: list[Event] = []
    now = T0_MS
    kinds = st.sampled_from([kind for kind in KINDS if not kind.startswith(("switch.", "account."))])
    short = st.sampled_from(SHORT_MS)
    one = st.tuples(kinds, st.integers(0, 2), st.integers(0, 1), short, st.integers(0, 10**6))
    size = draw(st.integers(1, 40))
    for at, (kind, call, user, step, pick) in enumerate(draw(st.lists(one, min_size=size, max_size=size))):
        now += step
        events.append(made_event(kind, call, user, now, pick, f"{pick % 9}-{at}"))
    ends: dict[tuple[str, str], int] = {}
    for event in reversed(events):
        if event["type"] == "call.ended":
            ends[event["userId"], event["callId"]] = event["ts"]
    return [
        event
        for event in events
        if event["type"] != "call.started" or event["ts"] <= ends.get((event["userId"], event["callId"]), event["ts"])
    ]
