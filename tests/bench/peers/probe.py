"""A process that publishes probes and watches for them where an engine's counters are read.

The job is JSON on stdin, the output one JSON object; all times are in seconds. It works as ``tests.bench.probe`` does,
which asks workers of this project alone.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis

from tests.bench.peers.counting import recent_windows
from tests.bench.probe import AFTER_S, POLL_S, USER, ProbeJob, publish_probes
from tests.support.accounts import TOKEN
from tests.support.workers import PATH

_TC: Final = re.compile(rb'"TC":(\d+)')
_HOUR_MS: Final = 3_600_000


class PeerProbe(NamedTuple):
    """The job. ``readable``: as of an Engine, and "ours" for a worker; the rest as in ``ProbeJob`` and ``Job``."""

    readable: str
    broker: str
    topic: str
    output: str
    partitions: int
    port: int
    redis: str
    probes: int
    every_s: float


class Watch(threading.Thread):
    """Reads the calls of the probe user repeatedly. ``seen``: when each probe was first counted."""

    def __init__(self, job: PeerProbe) -> None:
        super().__init__(daemon=True)
        self._job = job
        self.seen: list[float] = []
        self.failure: BaseException | None = None
        self.give_up = threading.Event()

    def run(self) -> None:
        """Read until all probes have been seen, or ``give_up`` is set."""
        try:
            if self._job.readable == "topic":
                asyncio.run(self._follow())
            else:
                self._ask(READERS[self._job.readable](self._job))
        except BaseException as error:
            self.failure = error

    def _goes_on(self) -> bool:
        return len(self.seen) < self._job.probes and not self.give_up.is_set()

    def _note(self, count: int) -> None:
        self.seen.extend([time.perf_counter()] * (count - len(self.seen)))

    def _ask(self, read: Callable[[], int]) -> None:
        due = time.perf_counter()
        while self._goes_on():
            self._note(read())
            due = max(due + POLL_S, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))

    async def _follow(self) -> None:
        """Read the counters that the engine publishes, from now on."""
        job = self._job
        consumer = AIOKafkaConsumer(bootstrap_servers=job.broker, isolation_level="read_committed")
        async with consumer:
            consumer.assign([TopicPartition(job.output, 0)])
            calls: dict[str, int] = {}
            while self._goes_on():
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        changed = json.loads(record.value)
                        if changed["cell"].startswith(f"{USER}|"):
                            calls[changed["cell"]] = changed["counters"].get("TC", calls.get(changed["cell"], 0))
                self._note(sum(calls.values()))


def _ours(job: PeerProbe) -> Callable[[], int]:
    """Asks a worker for the probe user's counters, of the last hours: midnight may pass."""
    since = {"field": "date", "op": "gte", "value": int(time.time() * 1000) - 12 * _HOUR_MS}
    body = json.dumps({"userId": USER, "token": TOKEN, "filter": [since]})
    return _http(job.port, "POST", PATH, body)


def _engine(job: PeerProbe) -> Callable[[], int]:
    """Asks an engine that serves its counters."""
    return _http(job.port, "GET", f"/calls/?user={USER}", None)


def _http(port: int, method: str, path: str, body: str | None) -> Callable[[], int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def read() -> int:
        connection.request(method, path, body)
        response = connection.getresponse()
        reply = response.read()
        found = _TC.search(reply)
        if response.status != 200 or found is None:
            raise RuntimeError(f"HTTP {response.status}: {reply[:300]!r}")
        return int(found[1])

    return read


def _redis(job: PeerProbe) -> Callable[[], int]:
    """Asks Redis for the calls in the present windows."""
    redis = Redis.from_url(job.redis)

    def read() -> int:
        cells = (f"cell:{USER}|{window}" for window in recent_windows(int(time.time() * 1000)))
        return sum(int(redis.hget(cell, "TC") or 0) for cell in cells)

    return read


READERS: Final = {"ours": _ours, "http": _engine, "redis": _redis}


def probe(job: PeerProbe) -> dict[str, Any]:
    """Publish and watch; returns the latencies, and how many probes were not seen."""
    watch = Watch(job)
    watch.start()
    publishing = ProbeJob(job.broker, job.topic, job.partitions, job.port, TOKEN, job.probes, job.every_s)
    sent, _ = asyncio.run(publish_probes(publishing))
    watch.join(AFTER_S)
    watch.give_up.set()
    watch.join()
    if watch.failure is not None:
        raise watch.failure
    visible = [seen - began for seen, began in zip(watch.seen, sent, strict=False)]
    return {"visible": visible, "missing": job.probes - len(visible)}


if __name__ == "__main__":
    print(json.dumps(probe(PeerProbe(**json.load(sys.stdin)))))
