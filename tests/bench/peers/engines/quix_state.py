"""Quix Streams as its documentation teaches: a StreamingDataFrame with stateful ``apply``, and a topic of results.

Messages are keyed by user, and so is the state, which is in RocksDB with a changelog in Kafka. The state cannot be
asked for from outside, so changed counters go to the topic of results.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State

from tests.bench.peers.counting import READ, apply, new_call, window_key
from tests.bench.peers.job import END, SESSION_MS, Job, Marks, given_job


def run(job: Job) -> None:
    """Count until the process is killed."""
    marks = Marks(job)
    app = Application(
        broker_address=job.broker,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        state_dir=f"{job.folder}/state",
        processing_guarantee=job.guarantee.replace("_", "-"),
        consumer_extra_config={"session.timeout.ms": SESSION_MS},
    )

    def count(event: dict[str, Any], state: State) -> dict[str, Any] | None:
        """The counters that an event changes, as they are now."""
        marks.see()
        if event["type"] not in READ:
            if marks.is_end(event):
                marks.end()
            return {"cell": event["userId"], "counters": {END: 1}} if event["id"] == END else None
        call = state.get(f"call/{event['callId']}") or new_call()
        changes = apply(call, event)
        state.set(f"call/{event['callId']}", call)
        if not changes:
            return None
        cell = window_key(event["userId"], call)
        counters = state.get(f"cell/{cell}") or {}
        for name, change in changes.items():
            counters[name] = counters.get(name, 0) + change
        state.set(f"cell/{cell}", counters)
        return {"cell": cell, "counters": {name: counters[name] for name in changes}}

    results = app.topic(job.output, key_serializer="str", value_serializer="json")
    sdf = app.dataframe(app.topic(job.topic, key_deserializer="str", value_deserializer="json"))
    sdf = sdf.apply(count, stateful=True).filter(lambda changed: changed is not None)
    sdf.to_topic(results, key=lambda changed: changed["cell"])
    app.run()


if __name__ == "__main__":
    run(given_job())
