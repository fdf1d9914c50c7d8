"""A process that publishes probes and watches for them where an engine's counters are read.

The job is JSON on stdin, the output one JSON object; all times are in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis

from tests.bench.peers.counting import recent_windows
from tests.bench.probe import USER, ProbeJob, Watch, reader, watched, worker_reader
from tests.support.accounts import TOKEN


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


async def _follow(job: PeerProbe, watch: Watch) -> None:
    """Read the counters that the engine publishes, from now on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=job.broker, isolation_level="read_committed")
    async with consumer:
        consumer.assign([TopicPartition(job.output, 0)])
        calls: dict[str, int] = {}
        while watch.goes_on():
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    changed = json.loads(record.value)
                    if changed["cell"].startswith(f"{USER}|"):
                        calls[changed["cell"]] = changed["counters"].get("TC", calls.get(changed["cell"], 0))
            watch.note(sum(calls.values()))


def _ours(job: PeerProbe) -> Callable[[], int]:
    """Asks a worker."""
    return worker_reader(job.port, TOKEN)


def _engine(job: PeerProbe) -> Callable[[], int]:
    """Asks an engine that serves its counters."""
    return reader(job.port, "GET", f"/calls/?user={USER}", None)


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

    def look(watch: Watch) -> None:
        if job.readable == "topic":
            asyncio.run(_follow(job, watch))
        else:
            watch.ask(READERS[job.readable](job))

    publishing = ProbeJob(job.broker, job.topic, job.partitions, job.port, TOKEN, job.probes, job.every_s)
    _, visible, _ = watched(publishing, look)
    return {"visible": visible, "missing": job.probes - len(visible)}


if __name__ == "__main__":
    print(json.dumps(probe(PeerProbe(**json.load(sys.stdin)))))
