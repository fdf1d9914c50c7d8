"""A process that publishes probes and watches for them in a worker's replies.

The job is JSON on stdin. The output is one JSON object; all times are in seconds.
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

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from tests.support.workers import PATH

USER: Final = "probe"
POLL_S: Final = 0.0015
BEFORE_S: Final = 1.0
"""Until the noise of this process's own start has passed."""
AFTER_S: Final = 10.0
"""A probe that is not seen this long after the last one was published is missing."""
_TC: Final = re.compile(rb'"TC":(\d+)')


class ProbeJob(NamedTuple):
    """The job. ``token``: of USER; ``probes``: how many, one every ``every_s`` seconds."""

    broker: str
    topic: str
    partitions: int
    port: int
    token: str
    probes: int
    every_s: float


class Watch(threading.Thread):
    """Looks for the probes while they are published. ``seen``: when each was first counted.

    ``look`` looks until ``goes_on`` says False, and calls ``note``; ``ask`` does both. ``gaps``: the times from one
    answer to the next, of ``ask``.
    """

    def __init__(self, probes: int, look: Callable[[Watch], None]) -> None:
        super().__init__(daemon=True)
        self._probes = probes
        self._look = look
        self.seen: list[float] = []
        self.gaps: list[float] = []
        self.failure: BaseException | None = None
        self.give_up = threading.Event()

    def run(self) -> None:
        """Look until all probes have been seen, or ``give_up`` is set."""
        try:
            self._look(self)
        except BaseException as error:
            self.failure = error

    def goes_on(self) -> bool:
        """Whether probes are still looked for."""
        return len(self.seen) < self._probes and not self.give_up.is_set()

    def note(self, count: int) -> None:
        """Note that so many probes are counted now."""
        self.seen.extend([time.perf_counter()] * (count - len(self.seen)))

    def ask(self, read: Callable[[], int]) -> None:
        """Ask repeatedly how many probes are counted."""
        last = due = time.perf_counter()
        while self.goes_on():
            self.note(read())
            now = time.perf_counter()
            self.gaps.append(now - last)
            last, due = now, max(due + POLL_S, now)
            time.sleep(max(0.0, due - now))


def reader(port: int, method: str, path: str, body: str | None) -> Callable[[], int]:
    """Asks a server on this machine, on one connection, for an answer that has the probe user's "TC"."""
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


def worker_reader(port: int, token: str) -> Callable[[], int]:
    """Asks a worker for the probe user's counters, from 12 hours ago on: midnight may pass."""
    since = {"field": "date", "op": "gte", "value": int((time.time() - 43_200) * 1000)}
    return reader(port, "POST", PATH, json.dumps({"userId": USER, "token": token, "filter": [since]}))


async def publish_probes(job: ProbeJob) -> tuple[list[float], list[float]]:
    """Publish all probes on time; returns when each was sent, and how long each took to be acknowledged."""
    sent: list[float] = []
    acknowledged: list[float] = []
    waiting = []
    partition = partition_of(USER, job.partitions)
    producer = AIOKafkaProducer(bootstrap_servers=job.broker, acks="all")
    await producer.start()
    try:
        due = time.perf_counter() + BEFORE_S
        for at in range(job.probes):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            due += job.every_s
            value = json.dumps(
                {"id": f"p{at}", "type": "call.started", "ts": int(time.time() * 1000), "userId": USER,
                 "callId": f"probe-{at}", "callType": "IBD"}
            ).encode()  # fmt: skip
            began = time.perf_counter()
            sent.append(began)
            future = await producer.send(job.topic, value, USER.encode(), partition=partition)
            future.add_done_callback(lambda _, began=began: acknowledged.append(time.perf_counter() - began))
            waiting.append(future)
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return sent, acknowledged


def watched(job: ProbeJob, look: Callable[[Watch], None]) -> tuple[Watch, list[float], list[float]]:
    """Publish the probes and look for them. Returns the watch, the latency of each probe that was seen, and how long
    each took to be acknowledged."""
    watch = Watch(job.probes, look)
    watch.start()
    sent, acknowledged = asyncio.run(publish_probes(job))
    watch.join(AFTER_S)
    watch.give_up.set()
    watch.join()
    if watch.failure is not None:
        raise watch.failure
    return watch, [seen - began for seen, began in zip(watch.seen, sent, strict=False)], acknowledged


def probe(job: ProbeJob) -> dict[str, Any]:
    """Publish and watch; returns the measurements."""
    began = time.perf_counter()
    watch, visible, acknowledged = watched(job, lambda watch: watch.ask(worker_reader(job.port, job.token)))
    return {
        "visible": visible,
        "acknowledged": acknowledged,
        "gaps": watch.gaps[1:],
        "asked": len(watch.gaps),
        "seconds": time.perf_counter() - began,
        "missing": job.probes - len(visible),
    }


if __name__ == "__main__":
    print(json.dumps(probe(ProbeJob(**json.load(sys.stdin)))))
