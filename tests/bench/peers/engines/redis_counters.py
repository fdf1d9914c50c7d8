"""aiokafka with Redis: a batch's calls are read with MGET, and written with HINCRBY for each counter in one pipeline.

A pipeline of redis-py is a transaction, so calls and counters change together. Offsets are committed after it: a batch
that comes again finds its events in the calls, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable

import orjson
from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis

from tests.bench.peers.counting import READ, Call, Event, apply, call_key, new_call, window_key
from tests.bench.peers.job import SESSION_MS, Job, Marks, given_job

AT_ONCE = 2_000
"""Events in a batch."""


async def count(job: Job) -> None:
    """Count until the process is killed."""
    marks, redis = Marks(job), Redis.from_url(job.redis)
    consumer = AIOKafkaConsumer(
        job.topic,
        bootstrap_servers=job.broker,
        group_id=job.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // 3,
    )
    async with consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=200, max_records=AT_ONCE)
            events = [orjson.loads(record.value) for records in batches.values() for record in records]
            if not events:
                continue
            marks.see(len(events))
            await _count_batch(redis, [event for event in events if event["type"] in READ])
            await consumer.commit()
            if any(marks.is_end(event) for event in events):
                marks.end()


async def _count_batch(redis: Redis, events: Iterable[Event]) -> None:
    keys = list(dict.fromkeys(f"call:{call_key(event)}" for event in events))
    if not keys:
        return
    saved = await redis.mget(keys)
    calls: dict[str, Call] = {
        key: new_call() if value is None else orjson.loads(value) for key, value in zip(keys, saved, strict=True)
    }
    changes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        call = calls[f"call:{call_key(event)}"]
        if changed := apply(call, event):
            changes[f"cell:{window_key(event['userId'], call)}"].update(changed)
    async with redis.pipeline() as pipe:
        pipe.mset({key: orjson.dumps(call) for key, call in calls.items()})
        for cell, counters in changes.items():
            for name, change in counters.items():
                if change:
                    pipe.hincrby(cell, name, change)
        await pipe.execute()


if __name__ == "__main__":
    asyncio.run(count(given_job()))
