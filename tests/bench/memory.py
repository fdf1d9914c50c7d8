"""The memory of a live call, and whether memory stays the same while calls come and go."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Final

from streams.kafka.publisher import Outgoing
from tests.bench.events import LIVE_EVENTS, Rounds, Switch, live_calls
from tests.bench.measure import MIB, Asker, rss_bytes, until_accepted, until_committed
from tests.bench.report import Cell, Table, say, slope
from tests.bench.testbed import Testbed, app_id
from tests.support.workers import Deployment, Worker

SETTLE_S: Final = 3.0
"""After the start, until modules that are imported late are loaded."""
LIVE_CALLS: Final = 200_000
LIVE_USERS: Final = 50
LIVE_GAP_MS: Final = 2
LIVE_STEPS: Final = 2
"""The first step includes buffers for the flood of events; the second shows the calls alone."""
TARGET_BYTES: Final = 900
LIVE_NOTES: Final = (
    f"a worker on an empty topic, {SETTLE_S:g} s after it is ready; then {LIVE_CALLS:,} calls of {LIVE_USERS} users, "
    "each started, in an IVR, both its legs rung and answered, each from a number of its own (which is remembered too, "
    "and counts here); then as many again",
    "RSS (VmRSS) after: when all is flushed and committed; nothing is forced (no gc, no malloc_trim), so buffers that "
    "the flood of events needed count as well: mostly in the first row",
)

STEP_EVENTS: Final = 250_000
WARM_EVENTS: Final = 500_000
MORE_EVENTS: Final = 2_000_000
ROUND_MS: Final = 1_000
ROUND_CALLS: Final = 25
ROUND_LENGTH: Final = 200
ROUND_USERS: Final = 8
ROUND_NUMBERS: Final = 5_000
DAY_MS: Final = 86_400_000


def live_memory(testbed: Testbed) -> Table:
    """The table of the RSS growth per live call."""
    deployment = testbed.deployment()
    testbed.make_topics(deployment)
    table = Table(
        f"memory of a live call, {testbed.title}",
        ("", "RSS before MiB", "RSS after MiB", "live calls", "bytes a call", "target"),
        notes=list(LIVE_NOTES),
    )
    events = LIVE_CALLS * LIVE_EVENTS
    with testbed.worker(deployment) as worker:
        before = _settled(worker)
        # The last call starts a minute before now, so that no event is ahead of the clock, late or silent.
        start_ms = int(time.time() * 1000) - LIVE_STEPS * LIVE_CALLS * LIVE_GAP_MS - 60_000
        switch = Switch(LIVE_USERS, LIVE_STEPS * LIVE_CALLS)
        messages = live_calls(switch, LIVE_STEPS * LIVE_CALLS, start_ms, LIVE_GAP_MS)
        for step in range(1, LIVE_STEPS + 1):
            say(f"{LIVE_CALLS:,} live calls, {events:,} events")
            _feed(testbed, deployment, worker, itertools.islice(messages, events), step * events)
            after = rss_bytes(worker.process.pid)
            label = f"{'first' if step == 1 else 'next'} {LIVE_CALLS:,}"
            live = int(_asked(worker, "ecounters_live_calls"))
            table.add(label, before / MIB, after / MIB, live, int((after - before) / LIVE_CALLS), TARGET_BYTES)
            before = after
        worker.end()
    return table


def steady_memory(testbed: Testbed) -> Table:
    """The table of the RSS over many events while the number of live calls stays the same."""
    deployment = testbed.deployment()
    testbed.make_topics(deployment)
    total = WARM_EVENTS + MORE_EVENTS
    table = Table(
        f"memory over {total:,} events with a steady number of live calls, {testbed.title}",
        ("events", "RSS MiB", "to warm %", "to warm MiB", "live calls", "calls kept"),
        notes=_steady_notes(),
    )
    with testbed.worker(deployment) as worker:
        _row(table, "0 (start)", _settled(worker), 0, worker)
        messages = _rounds(int(time.time() * 1000) - DAY_MS)
        points: list[tuple[int, int]] = []
        for done in range(STEP_EVENTS, total + 1, STEP_EVENTS):
            _feed(testbed, deployment, worker, itertools.islice(messages, STEP_EVENTS), done)
            rss = rss_bytes(worker.process.pid)
            if done >= WARM_EVENTS:
                points.append((done, rss))
            label = f"{done:,} (warm)" if done == WARM_EVENTS else f"{done:,}"
            _row(table, label, rss, points[0][1] if points else 0, worker)
            say(f"{done:,} events: RSS {rss / MIB:.1f} MiB")
        worker.end()
    table.notes.append(
        f"a straight line through all points from warm on rises by {slope(points) * MORE_EVENTS / MIB:.1f} MiB over "
        f"{MORE_EVENTS:,} events: single points are as noisy as the allocator"
    )
    return table


def _steady_notes() -> list[str]:
    kept = ROUND_CALLS * (ROUND_LENGTH + 900) * 1_000 // ROUND_MS
    hours = (WARM_EVENTS + MORE_EVENTS) / Rounds.ROUND_EVENTS / ROUND_CALLS * ROUND_MS / 3_600_000
    return [
        f"each {ROUND_MS:,} ms of event time {ROUND_CALLS} calls begin and as many end, {ROUND_LENGTH} s old; with the "
        f"15 minutes of linger some {kept:,} are kept. {ROUND_USERS} users; {ROUND_NUMBERS:,} numbers that recur",
        f"events are published {STEP_EVENTS:,} at a time; RSS (VmRSS): each time when all is flushed and committed",
        f"event time is {hours:.1f} h in all. Windows are kept 48 h, so their cells are still growing: that is some "
        f"{4 * hours:.0f} windows of some {ROUND_USERS * 8} cells at the end",
    ]


def _rounds(ts: int) -> Iterator[Outgoing]:
    rounds = Rounds(Switch(ROUND_USERS, ROUND_NUMBERS), ROUND_CALLS, ROUND_LENGTH)
    for at in itertools.count():
        yield from rounds.next(ts + at * ROUND_MS)


def _settled(worker: Worker) -> int:
    worker.wait_ready()
    time.sleep(SETTLE_S)
    return rss_bytes(worker.process.pid)


def _feed(
    testbed: Testbed, deployment: Deployment, worker: Worker, messages: Iterator[Outgoing], accepted: int
) -> None:
    """Publish, and wait until ``accepted`` events have been counted since the start and all is flushed."""
    log = testbed.publish(deployment, messages)
    until_accepted(accepted, worker)
    asyncio.run(until_committed(testbed.broker, app_id(deployment), log.topic, log.ends))


def _asked(worker: Worker, name: str) -> float:
    asker = Asker(worker)
    try:
        return asker.metrics()[name]
    finally:
        asker.close()


def _row(table: Table, label: str, rss: int, warm: int, worker: Worker) -> None:
    change: list[Cell] = [(rss / warm - 1) * 100, (rss - warm) / MIB] if warm else ["", ""]
    live, kept = _asked(worker, "ecounters_live_calls"), _asked(worker, "ecounters_kept_calls")
    table.add(label, rss / MIB, *change, int(live), int(kept))
