"""How the cost of an event grows with accounts, live calls, partitions and workers.

Each case differs from BASE in one number. Its workers read what fills the state; then they are stopped (SIGSTOP) while
the events that are measured are published, and go on at once. So nothing of the figures is start or publishing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from ecounters.errors import Stop
from ecounters.windows.calendar import MINUTE_MS
from streams.engine.health import ACCOUNTS_AT_ONCE
from streams.kafka.publisher import Outgoing
from tests.bench.events import SIMULATED, Rounds, Switch
from tests.bench.measure import MIB, Asker, cpu_s, machine_cpu_s, rss_bytes, until_accepted, until_committed
from tests.bench.report import Table, median, say
from tests.bench.testbed import Log, Testbed, app_id
from tests.support.workers import Deployment, Worker

MEASURED_ROUNDS: Final = 1_400
"""So long a case is measured."""
FROM_MS: Final = SIMULATED.start_ms + 5 * MINUTE_MS
"""When the measured events begin: they and most of what fills the state are of one window of 15 minutes."""
ROUND_MS: Final = 100
ROUND_CALLS: Final = 50
LINGER_MS: Final = 20_000
NUMBERS: Final = 100_000
"""Telephone numbers that recur; in all cases as many pairs of account and number are remembered."""
STOPPED_S: Final = 45
"""The session timeout: workers are stopped for less than this."""
ACCEPTED: Final = "ecounters_events_accepted_total"
US: Final = 1_000_000


class Case(NamedTuple):
    """What a row measures. ``live``: calls that are live all the time."""

    accounts: int = 1_000
    live: int = 10_000
    partitions: int = 8
    workers: int = 1


BASE: Final = Case()
CASES: Final = (
    ("base", BASE),
    *((f"{accounts:,} accounts", BASE._replace(accounts=accounts)) for accounts in (10, 100_000)),
    *((f"{live:,} live calls", BASE._replace(live=live)) for live in (100_000, 1_000_000)),
    *((f"{count} partition{'s' * (count > 1)}", BASE._replace(partitions=count)) for count in (1, 64, 256)),
    ("2 workers", BASE._replace(workers=2)),
)
COLUMNS: Final = (
    "", "events/s", "CPU µs", "of base", "alone/s", "of base", "entries", "flushes", "MiB", "others",
)  # fmt: skip


class Grown(NamedTuple):
    """The figures of a case, of all its workers; ``alone_rate`` is by the one that worked most."""

    rate: float
    cpu_us: float
    alone_rate: float
    entries: float
    flushes: float
    rss: float
    others: float


class Seen(NamedTuple):
    """A worker at one moment."""

    rss: int
    metrics: dict[str, float]

    @classmethod
    def of(cls, worker: Worker) -> Seen:
        """As it is now."""
        asker = Asker(worker)
        try:
            metrics = asker.metrics()
        finally:
            asker.close()
        return cls(rss_bytes(worker.process.pid), metrics)


def growth(
    testbed: Testbed, turns: int, cases: Sequence[tuple[str, Case]] = CASES, rounds: int = MEASURED_ROUNDS
) -> Table:
    """The table of all cases, each measured ``turns`` times, in turns. ``rounds``: of the log, that are measured."""
    rows: dict[str, list[tuple[float, ...]]] = {title: [] for title, _ in cases}
    for turn in range(1, turns + 1):
        base: Grown | None = None
        for title, case in cases:
            found = _grown(testbed, case, rounds)
            base = base or found
            say(f"turn {turn} of {turns}, {title}: {found.rate:,.0f} events/s, {found.cpu_us:.2f} µs an event")
            rows[title].append(_row(found, base))
    table = Table(f"how cost grows, {testbed.title}: medians of {turns}", COLUMNS, notes=_notes(rounds))
    for title, _ in cases:
        table.add(title, *(median(values) for values in zip(*rows[title], strict=True)))
    return table


def _row(found: Grown, base: Grown) -> tuple[float, ...]:
    alone = found.alone_rate, found.alone_rate / base.alone_rate
    return found.rate, found.cpu_us, found.cpu_us / base.cpu_us, *alone, *found[3:]


def _grown(testbed: Testbed, case: Case, rounds: int) -> Grown:
    """Fill the state, and measure so many rounds after that."""
    deployment = testbed.deployment(case.partitions).with_settings(LINGER_MS=LINGER_MS, SESSION_TIMEOUT_S=STOPPED_S)
    testbed.make_topics(deployment)
    log, filling = _log(case)
    with ExitStack() as exits:
        workers: list[Worker] = []
        while len(workers) < case.workers:  # one after the other: the second one of two that join at once may wait long
            workers.append(exits.enter_context(testbed.worker(deployment)))
            workers[-1].wait_ready()
        filled = testbed.publish(deployment, _events(log, filling))
        _until_flushed(testbed, deployment, workers, filled, filled.messages)
        before = [Seen.of(worker) for worker in workers]
        with stopped(workers):
            measured = testbed.publish(deployment, _events(log, rounds))
        began, mine, everybody = time.time(), _mine(testbed, workers), machine_cpu_s()
        used = [cpu_s(worker.process.pid) for worker in workers]
        counted = sum(int(one.metrics[ACCEPTED]) for one in before)
        ended = _until_flushed(testbed, deployment, workers, measured, counted + measured.messages)
        others = machine_cpu_s() - everybody - _mine(testbed, workers) + mine
        others = max(0.0, others) / (time.time() - began)
        used = [cpu_s(worker.process.pid) - then for worker, then in zip(workers, used, strict=True)]
        after = [Seen.of(worker) for worker in workers]
        live = sum(int(one.metrics["ecounters_live_calls"]) for one in after)
        if case.accounts <= ACCOUNTS_AT_ONCE and live != case.live:
            raise Stop(f"{live:,} calls are live at the end, not {case.live:,}")
        for worker in workers:
            worker.end()
    testbed.delete_topics(deployment)
    return _figures(before, after, used, measured.messages, ended - began, others)


def _mine(testbed: Testbed, workers: Sequence[Worker]) -> float:
    """Processor time of the workers, the embedded broker and this process so far."""
    return sum(map(cpu_s, (*(worker.process.pid for worker in workers), testbed.server.child.pid, os.getpid())))


def _until_flushed(testbed: Testbed, deployment: Deployment, workers: Sequence[Worker], log: Log, events: int) -> float:
    """Wait until so many events have been counted since the start, and all is flushed; returns when they were counted,
    as time.time()."""
    counted = until_accepted(events, *workers)
    asyncio.run(until_committed(testbed.broker, app_id(deployment), log.topic, log.ends))
    return counted


@contextmanager
def stopped(workers: Sequence[Worker]) -> Iterator[None]:
    """Processes that stand still in the block, and go on at its end."""
    try:
        for worker in workers:
            worker.process.send_signal(signal.SIGSTOP)
        if not all(worker.wait_stopped() for worker in workers):
            raise Stop("a worker could not be stopped")
        yield
    finally:
        for worker in workers:
            worker.process.send_signal(signal.SIGCONT)


def _figures(
    before: Sequence[Seen], after: Sequence[Seen], used: Sequence[float], events: int, seconds: float, others: float
) -> Grown:
    def grown(name: str) -> list[float]:
        return [now.metrics[name] - then.metrics[name] for then, now in zip(before, after, strict=True)]

    if not all(grown(ACCEPTED)):
        raise Stop("a worker had no events: not all workers had partitions")
    return Grown(
        events / seconds,
        sum(used) / events * US,
        events / max(used),
        sum(grown("ecounters_flush_entries_total")) / events,
        sum(grown("ecounters_flush_seconds_count")),
        sum(one.rss for one in after) / MIB,
        others,
    )


def _log(case: Case) -> tuple[Iterator[Iterator[Outgoing]], int]:
    """The rounds of a case's log, and how many of them fill the state."""
    rounds = Rounds(Switch(case.accounts, NUMBERS, sorts=1), ROUND_CALLS, case.live // ROUND_CALLS)
    filling = max(
        case.live // ROUND_CALLS + LINGER_MS // ROUND_MS, case.accounts // ROUND_CALLS, NUMBERS // ROUND_CALLS
    )
    return (rounds.next(FROM_MS + (at - filling) * ROUND_MS) for at in itertools.count()), filling


def _events(log: Iterator[Iterator[Outgoing]], rounds: int) -> Iterator[Outgoing]:
    """The events of the next rounds."""
    return itertools.chain.from_iterable(itertools.islice(log, rounds))


def _notes(rounds: int) -> list[str]:
    events, base = rounds * ROUND_CALLS * Rounds.ROUND_EVENTS, BASE
    return [
        f"base: {base.accounts:,} accounts, {base.live:,} live calls, {base.partitions} partitions, one worker; each "
        "other row differs from it in what it is named after",
        f"{events:,} events: in a second of the log {ROUND_CALLS * 1_000 // ROUND_MS} calls start, and as many end, "
        f"which are kept for {LINGER_MS // 1_000} s after that; a call has {Rounds.ROUND_EVENTS} events. Accounts take "
        f"turns; the calls of an account are all of one sort; {NUMBERS:,} numbers recur",
        "before that, and not in the figures: enough of the same log that so many calls are live, and each account and "
        "number had a call. Then the workers are stopped (SIGSTOP) until the measured events are published",
        "events/s: from when they go on until /metrics says that all are accepted, beside the broker on the same "
        "processors",
        "CPU µs: user and system time for each event (/proc/PID/stat) of all workers, until the group's offsets are at "
        "the topic's ends: with all flushes and the commit",
        "alone/s: events for each second of processor time, of the worker that had most: what the workers would do if "
        "each had a processor to itself, and the broker took none",
        "of base: compared with the base of the same turn, so that both have the same noise",
        "entries: of the changelog, for each event; flushes: transactions, of all partitions; MiB: RSS (VmRSS) at the "
        "end, of all workers",
        "others: how many processors were busy with anything but workers, embedded broker and bench",
    ]
