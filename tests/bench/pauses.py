"""The longest step of a worker's event loop, while logs and requests are made to keep it busy."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from ecounters.windows.calendar import DAY_MS, HOUR_MS
from streams.kafka.publisher import Outgoing
from streams.web.paths import COUNTERS_PATHS, SERIES_PATHS
from tests.bench.report import Table, say
from tests.bench.testbed import Testbed
from tests.support import event_attacks, request_attacks
from tests.support.accounts import add_users
from tests.support.log_publisher import yesterday_ms
from tests.support.loop_pauses import ROLLING_UP, longest_step
from tests.support.replies import CREDENTIALS
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

ROLL_UP_S: Final = 5.0
REQUEST_LIMIT_S: Final = 20.0

NOTES: Final = (
    "processor time of the longest callback of the worker's event loop; a virtual machine may add some 10 ms now and "
    "then",
    "all events are of one account on one partition; windows are rolled up every second",
)


def pauses(testbed: Testbed) -> Table:
    """Attack a new worker with each log, and one with all requests; returns the table."""
    table = Table(f"longest step of the event loop, {testbed.title}", ("", "ms", "what it was"), notes=list(NOTES))
    for name, attack in LOGS.items():
        _measure(testbed, table, name, attack)
    _measure(testbed, table, "requests that are bombs", _requests)
    return table


def _measure(testbed: Testbed, table: Table, name: str, attack: Callable[[_Target], None]) -> None:
    say(name)
    deployment = testbed.deployment().with_settings(DTMF_DIGITS=12, THROTTLE_PER_MIN=1_000_000)
    testbed.make_topics(deployment)
    add_users(deployment, ["u1"])
    with testbed.worker(deployment, ROLLING_UP) as worker:
        worker.wait_ready().ask(CREDENTIALS)
        longest_step(worker)
        attack(_Target(testbed, deployment, worker))
        step = longest_step(worker)
    table.add(name, step.busy_ms, step.what.partition(": ")[2][:60])


class _Target:
    """A worker that is attacked. ``begin``: when the log begins, in ms; two days ago."""

    def __init__(self, testbed: Testbed, deployment: Deployment, worker: Worker) -> None:
        self._testbed = testbed
        self._deployment = deployment
        self.worker = worker
        self.begin = yesterday_ms() - DAY_MS

    def publish(self, messages: Iterable[Outgoing]) -> None:
        """Publish messages as fast as possible, and wait until they are flushed."""
        self._testbed.publish(self._deployment, messages)
        wait_until_flushed(self._deployment)

    def let_pass(self, ms: int) -> None:
        """Move the watermark to so long after the begin of the log."""
        self.publish([event_attacks.watermark(self.begin + ms)])

    def ask(self, *also: dict[str, str], **parameters: object) -> Reply:
        """The counters of all days of the log. ``also``: further conditions."""
        date = {"field": "date", "op": "gte", "value": self.begin}
        path = SERIES_PATHS[0] if "interval" in parameters else COUNTERS_PATHS[0]
        return self.worker.request("POST", path, {**CREDENTIALS, "filter": [date, *also], **parameters})


def _inputs(target: _Target) -> None:
    target.begin -= 2 * DAY_MS
    target.publish(event_attacks.many_inputs(target.begin))
    target.ask()
    target.let_pass(4 * DAY_MS)
    time.sleep(ROLL_UP_S)
    target.let_pass(4 * DAY_MS + 1)
    target.ask()


def _large_calls(target: _Target) -> None:
    target.publish(event_attacks.many_legs(target.begin))
    target.publish(event_attacks.many_ivr_entries(target.begin))
    target.ask()


def _dids(target: _Target) -> None:
    target.publish(event_attacks.many_dids(target.begin))
    target.ask()
    target.ask({"field": "did", "op": "ne", "value": "7"})
    target.ask(interval="15m")
    target.publish(event_attacks.many_restarts(target.begin + HOUR_MS))
    target.ask()
    target.let_pass(30 * HOUR_MS)


def _numbers(target: _Target) -> None:
    target.publish(event_attacks.many_numbers(target.begin))
    target.let_pass(HOUR_MS)
    target.let_pass(30 * HOUR_MS)


def _requests(target: _Target) -> None:
    for _, content in request_attacks.attacks():
        with suppress(OSError), socket.create_connection(("127.0.0.1", target.worker.port), REQUEST_LIMIT_S) as one:
            one.sendall(content)
            for _ in _read(one):
                pass


def _read(connection: socket.socket) -> Iterator[bytes]:
    while more := connection.recv(65_536):
        yield more


LOGS: Final[dict[str, Callable[[_Target], None]]] = {
    f"{event_attacks.INPUTS:,} inputs of a DID in a day, rolled up": _inputs,
    f"{event_attacks.LEGS:,} legs and {event_attacks.IVR_ENTRIES:,} IVR entries of a call": _large_calls,
    f"{event_attacks.DIDS:,} DIDs live, asked for, ended by {event_attacks.RESTARTS} restarts": _dids,
    f"{event_attacks.NUMBERS:,} calls dropped and numbers forgotten at once": _numbers,
}
