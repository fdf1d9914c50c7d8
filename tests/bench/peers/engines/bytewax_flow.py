"""Bytewax as its documentation teaches: a dataflow with two stateful steps, recovery, and a topic of results.

The first step joins the events of a call, the second adds up the changes of a cell. ``python -m bytewax.run`` runs the
flow, and restarts it from the last snapshot of both, which has the offsets too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import init_db_dir

from tests.bench.peers.counting import READ, Call, Event, apply, call_key, new_call, window_key
from tests.bench.peers.job import END, Marks, given_job

SNAPSHOT_S = 10
"""Bytewax's own default for the time between two snapshots."""
JOB = given_job()
MARKS = Marks(JOB)

Changes = dict[str, int]


def decode(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, Event] | None:
    """(key of the call, event); None for an event that counts nothing."""
    MARKS.see()
    event = orjson.loads(message.value)
    if event["type"] in READ:
        return call_key(event), event
    return (event["userId"], event) if event["id"] == END else None


def join(call: Call | None, event: Event) -> tuple[Call, Iterable[tuple[str, Changes]]]:
    """Add an event to its call. Gives out (cell, changes)."""
    call = call or new_call()
    if event["id"] == END:
        return call, [(event["userId"], {END: 1})]
    changes = apply(call, event)
    return call, [(window_key(event["userId"], call), changes)] if changes else []


def add(counters: Changes | None, changes: Changes) -> tuple[Changes, Changes]:
    """Add changes to a cell. Gives out the counters that have changed."""
    counters = counters or {}
    for name, change in changes.items():
        counters[name] = counters.get(name, 0) + change
    return counters, {name: counters[name] for name in changes}


def to_message(changed: tuple[str, Changes]) -> KafkaSinkMessage[bytes, bytes]:
    """The message of changed counters."""
    cell, counters = changed
    if MARKS.is_end({"id": END if END in counters else "", "userId": cell}):
        MARKS.end()
    return KafkaSinkMessage(cell.encode(), orjson.dumps({"cell": cell, "counters": counters}))


def make_flow() -> Any:
    """The dataflow."""
    flow = Dataflow("counters")
    messages = op.input("events", flow, KafkaSource([JOB.broker], [JOB.topic]))
    changes = op.stateful_flat_map("join", op.filter_map("decode", messages, decode), join)
    changed = op.stateful_map("add", op.map("by_cell", changes, lambda keyed: keyed[1]), add)
    op.output("results", op.map("to_message", changed, to_message), KafkaSink([JOB.broker], JOB.output))
    return flow


def main() -> None:
    """Become the program that runs the flow."""
    recovery = Path(JOB.folder) / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    flow = "tests.bench.peers.engines.bytewax_flow:make_flow()"
    options = ["-r", str(recovery), "-s", str(SNAPSHOT_S), "-b", "0"]
    os.execv(sys.executable, [sys.executable, "-m", "bytewax.run", flow, *options])


if __name__ == "__main__":
    main()
