"""PyFlink as its documentation teaches: the DataStream API with two keyed process functions, and a topic of results.

The first keeps a call in a ValueState, the second a cell. Checkpoints are files; a restart begins from the last one.
Python runs in processes of its own, as is the default: with `python.execution-mode` thread no event arrived in 90 s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor

from tests.bench.peers.counting import READ, Event, apply, call_key, new_call, window_key
from tests.bench.peers.job import END, Job, Marks, given_job

CHECKPOINTS = "10 s"
JARS = Path(sys.prefix) / "jars"
"""Where `make bench-peers` puts the connector, beside the environment that PyFlink is installed in."""

Changes = dict[str, int]


class Join(KeyedProcessFunction):  # type: ignore[misc]
    """Adds an event to its call. Gives out (cell, changes)."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        """Get the state of the calls."""
        self._marks = Marks(self._job)
        self._call = runtime_context.get_state(ValueStateDescriptor("call", Types.PICKLED_BYTE_ARRAY()))

    def process_element(
        self, value: tuple[str, Event], ctx: KeyedProcessFunction.Context
    ) -> Iterator[tuple[str, Changes]]:
        """Add one event."""
        self._marks.see()
        event = value[1]
        if event["id"] == END:
            yield event["userId"], {END: 1}
            return
        call = self._call.value() or new_call()
        changes = apply(call, event)
        self._call.update(call)
        if changes:
            yield window_key(event["userId"], call), changes


class Add(KeyedProcessFunction):  # type: ignore[misc]
    """Adds changes to their cell. Gives out the counters that have changed, as JSON."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        """Get the state of the cells."""
        self._marks = Marks(self._job)
        self._cell = runtime_context.get_state(ValueStateDescriptor("cell", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: tuple[str, Changes], ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        """Add the changes of one event."""
        cell, changes = value
        counters = self._cell.value() or {}
        for name, change in changes.items():
            counters[name] = counters.get(name, 0) + change
        self._cell.update(counters)
        if self._marks.is_end({"id": END if END in changes else "", "userId": cell}):
            self._marks.end()
        yield json.dumps({"cell": cell, "counters": {name: counters[name] for name in changes}})


def decode(value: str) -> Iterator[tuple[str, Event]]:
    """(key of the call, event), for an event that counts something."""
    event = json.loads(value)
    if event["type"] in READ:
        yield call_key(event), event
    elif event["id"] == END:
        yield event["userId"], event


def settings(job: Job) -> Configuration:
    """One task slot, checkpoints, and the last checkpoint if there is one."""
    checkpoints = Path(job.folder) / "checkpoints"
    given: dict[str, Any] = {
        "pipeline.jars": ";".join(path.as_uri() for path in JARS.glob("*.jar")),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "parallelism.default": "1",
        "execution.checkpointing.interval": CHECKPOINTS,
        "execution.checkpointing.dir": checkpoints.as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    complete = sorted(checkpoints.glob("*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime)
    if complete:
        given["execution.state-recovery.path"] = complete[-1].parent.as_uri()
    configuration = Configuration()
    for name, value in given.items():
        configuration.set_string(name, value)
    return configuration


def run(job: Job) -> None:
    """Count until the process is killed."""
    env = StreamExecutionEnvironment.get_execution_environment(settings(job))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(job.broker)
        .set_topics(job.topic)
        .set_group_id(job.group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    schema = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(job.output)
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(job.broker)
        .set_record_serializer(schema)
        .set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE)
        .build()
    )
    events = env.from_source(source, WatermarkStrategy.no_watermarks(), "events").flat_map(decode)
    changes = events.key_by(lambda keyed: keyed[0], key_type=Types.STRING()).process(Join(job))
    changed = changes.key_by(lambda change: change[0], key_type=Types.STRING()).process(Add(job), Types.STRING())
    changed.sink_to(sink)
    env.execute("counters")


if __name__ == "__main__":
    run(given_job())
