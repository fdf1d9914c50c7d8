"""Faust as its user guide teaches: an agent over a topic, a table of calls, and a table of counters.

Tables are in memory, with a changelog in Kafka, and a page serves the counters.
"""

from __future__ import annotations

import time
from typing import Any

import faust
import orjson
from faust import web
from faust.types import StreamT

from tests.bench.peers.counting import READ, apply, call_key, new_call, recent_windows, window_key
from tests.bench.peers.job import SESSION_MS, Marks, given_job

JOB = given_job()
MARKS = Marks(JOB)
app = faust.App(
    JOB.group,
    broker=f"kafka://{JOB.broker}",
    store="memory://",
    datadir=JOB.folder,
    topic_partitions=JOB.partitions,
    topic_replication_factor=1,
    broker_session_timeout=SESSION_MS / 1000,
    broker_heartbeat_interval=SESSION_MS / 3000,
    web_port=JOB.port,
)
events_topic = app.topic(JOB.topic, key_type=str, value_type=bytes, value_serializer="raw")
calls = app.Table("calls", partitions=JOB.partitions)
counters = app.Table("counters", default=int, partitions=JOB.partitions)
"""Key "user|window|counter"."""


async def count(values: StreamT[bytes]) -> None:
    """Count each event of the stream."""
    async for value in values:
        MARKS.see()
        event = orjson.loads(value)
        if event["type"] in READ:
            key = call_key(event)
            call = calls.get(key) or new_call()
            for name, change in apply(call, event).items():
                counters[f"{window_key(event['userId'], call)}|{name}"] += change
            calls[key] = call
        elif MARKS.is_end(event):
            MARKS.end()
            MARKS.results(_cells())


def _cells() -> dict[str, dict[str, int]]:
    cells: dict[str, dict[str, int]] = {}
    for key, n in counters.items():
        user, window, name = key.split("|", 2)
        cells.setdefault(f"{user}|{window}", {})[name] = n
    return cells


async def calls_of(self: web.View, request: web.Request) -> Any:
    """The calls of a user in the present windows."""
    user = request.query["user"]
    windows = recent_windows(int(time.time() * 1000))
    return self.json({"TC": sum(counters[f"{user}|{window}|TC"] for window in windows)})


app.agent(events_topic)(count)
app.page("/calls/")(calls_of)

if __name__ == "__main__":
    app.main()
