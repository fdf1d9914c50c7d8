"""Rows that need days: what became due, all of it at once, when the first event of today came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ecounters.events.partitioner import partition_of
from tests.support.accounts import TOKEN
from tests.support.attacks.event_attack import ATTACKED, PARTITIONS, users_of
from tests.support.attacks.lots import Message
from tests.support.attacks.scene import Scene

HOUR_MS: Final = 3_600_000
DTMF_SYMBOLS: Final = "0123456789*#ABCD"
SETTINGS: Final = {"KEEP_WINDOWS_H": 24, "KEEP_DAYS": 3}
"""With these a day is rolled up a day later, and balances are forgotten after three."""

ACCOUNTS: Final = 20_000
FORGOTTEN: Final = b"forgotten-"
"""How the ids of accounts begin that are forgotten when the first event of today comes."""
ACCOUNTS_AT_MS: Final = -120 * HOUR_MS
INPUT_CALLS: Final = 20_000
"""Each has another input of four symbols. Longer ones count by their length. In one record: 0.6 MB."""
INPUT_CALLS_AT_MS: Final = -49 * HOUR_MS
"""In the day before yesterday of a zone in which it is noon."""
INPUT_CALLS_USER: Final = next(users_of("many-inputs-in-a-day-"))
NUMBERS: Final = 30_000
NUMBERS_AT_MS: Final = -34 * HOUR_MS
NUMBERS_USER: Final = next(users_of("many-numbers-"))
NUMBER: Final = '"callType":"IBD","number":"+1555%07d"'
ENDED: Final = '"status":3'
LIVE: Final = 30_000
LIVE_USER: Final = next(users_of("many-live-calls-"))


def accounts(at_ms: int, prefix: bytes = FORGOTTEN) -> Iterator[Message]:
    """Row 20: 20,000 accounts with one balance each."""
    for at in range(ACCOUNTS):
        user = prefix + b"%d" % at
        value = b'{"id":"b","type":"balance.updated","ts":%d,"userId":"%s","balance":%d}' % (at_ms, user, at + 1)
        yield Message(0.0, partition_of(user.decode(), PARTITIONS), user, value)


def inputs_of_a_day(at_ms: int) -> Iterator[Message]:
    """Row 16: very many ordinary calls of one DID in a day, each with another input."""
    for at in range(INPUT_CALLS):
        ts = at_ms + at * 100
        digits = "".join(DTMF_SYMBOLS[at >> shift & 15] for shift in (12, 8, 4, 0))
        started = '"callType":"IBD","did":"+15550001000"'
        fields = (("call.started", started), ("dtmf.received", f'"digits":"{digits}"'), ("call.ended", ENDED))
        yield from _call(INPUT_CALLS_USER, f"i{at}", ts, fields)


def numbers(at_ms: int) -> Iterator[Message]:
    """Row 19: 30,000 numbers of one user, all of which are due to be forgotten when the first event of today comes."""
    for at in range(NUMBERS):
        events = (("call.started", NUMBER % at), ("call.ended", ENDED))
        yield from _call(NUMBERS_USER, f"n{at}", at_ms + at * 50, events)


def live_calls(at_ms: int) -> Iterator[Message]:
    """Rows 18 and 19: 30,000 live calls on one partition, each of another DID."""
    for at in range(LIVE):
        started = f'"callType":"IBD","switchId":"live","did":"+1555{at:07}"'
        yield from _call(LIVE_USER, f"l{at}", at_ms + at, (("call.started", started),))


def _call(user: str, name: str, ts: int, events: Iterable[tuple[str, str]]) -> Iterator[Message]:
    for nth, (kind, fields) in enumerate(events):
        value = f'{{"id":"{nth}","type":"{kind}","ts":{ts},"userId":"{user}","callId":"{name}",{fields}}}'
        yield Message(0.0, ATTACKED, user.encode(), value.encode())


def of_days(now_ms: int) -> Iterator[Message]:
    """All of them, in the order of their times."""
    yield from accounts(now_ms + ACCOUNTS_AT_MS)
    yield from inputs_of_a_day(now_ms + INPUT_CALLS_AT_MS)
    yield from numbers(now_ms + NUMBERS_AT_MS)


def assert_right(scene: Scene) -> None:
    """Wait until all of it is counted; the live calls are there, the day has all inputs, the numbers are forgotten."""
    live = scene.wait_counted(LIVE_USER)
    assert live["TC"] == LIVE and len(live["LDID"]) == LIVE
    now_ms = scene.now_ms()
    asked = {"userId": INPUT_CALLS_USER, "token": TOKEN, "filter": [date(now_ms - 50 * HOUR_MS, now_ms)]}
    reply = scene.worker.ask(asked)
    day = reply.json["message"]
    assert day["TC"] == INPUT_CALLS == len(day["DTMF"]), (reply.headers, day["TC"], len(day["DTMF"]))
    scene.publish(_call(NUMBERS_USER, "again", now_ms, (("call.started", NUMBER % 0), ("call.ended", ENDED))))
    numbers = scene.wait_counted(NUMBERS_USER)
    assert (numbers["TC"], numbers["freshCall"], numbers["repeatCall"]) == (1, 1, 0)


def date(begin_ms: int, end_ms: int) -> dict[str, object]:
    """A condition of a request: calls that started in this time."""
    return {"field": "date", "op": "between", "value": [begin_ms, end_ms]}
