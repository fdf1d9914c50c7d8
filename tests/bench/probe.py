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
    """Asks for the probe user's counters repeatedly. ``seen``: when each probe was first counted."""

    def __init__(self, job: ProbeJob) -> None:
        super().__init__(daemon=True)
        self._count = job.probes
        self._port = job.port
        # From 12 hours ago on: midnight may pass while this runs.
        since = int((time.time() - 43_200) * 1000)
        wanted = {"field": "date", "op": "gte", "value": since}
        self._body = json.dumps({"userId": USER, "token": job.token, "filter": [wanted]}).encode()
        self.seen: list[float] = []
        self.gaps: list[float] = []
        self.asked = 0
        self.began = time.perf_counter()
        self.failure: BaseException | None = None
        self.give_up = threading.Event()

    def run(self) -> None:
        """Ask until all probes have been seen, or ``give_up`` is set."""
        try:
            self._watch(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10))
        except BaseException as error:
            self.failure = error

    def _watch(self, connection: http.client.HTTPConnection) -> None:
        last = due = time.perf_counter()
        while len(self.seen) < self._count and not self.give_up.is_set():
            connection.request("POST", PATH, self._body)
            response = connection.getresponse()
            reply, at = response.read(), time.perf_counter()
            found = _TC.search(reply)
            if response.status != 200 or found is None:
                raise RuntimeError(f"HTTP {response.status}: {reply[:300]!r}")
            self.asked += 1
            self.seen.extend([at] * (int(found[1]) - len(self.seen)))
            self.gaps.append(at - last)
            last = at
            due = max(due + POLL_S, at)
            time.sleep(max(0.0, due - at))


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


def probe(job: ProbeJob) -> dict[str, Any]:
    """Publish and watch; returns the measurements."""
    watch = Watch(job)
    watch.start()
    sent, acknowledged = asyncio.run(publish_probes(job))
    watch.join(AFTER_S)
    watch.give_up.set()
    watch.join()
    if watch.failure is not None:
        raise watch.failure
    visible = [seen - began for seen, began in zip(watch.seen, sent, strict=False)]
    return {
        "visible": visible,
        "acknowledged": acknowledged,
        "gaps": watch.gaps[1:],
        "asked": watch.asked,
        "seconds": time.perf_counter() - watch.began,
        "missing": job.probes - len(visible),
    }


if __name__ == "__main__":
    print(json.dumps(probe(ProbeJob(**json.load(sys.stdin)))))
