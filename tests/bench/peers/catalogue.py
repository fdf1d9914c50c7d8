"""All engines of the comparison, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.bench.peers.engine import Engine, kafka_streams, own_python, python_engine

LIMIT: Final = "a limit: it drops what it reads, so there is neither latency nor anything that a kill could spoil"

ENGINES: Final = (
    Engine("faust", "Faust, tables", python_engine("faust_tables", "worker", "-l", "warn"), share=0.02, kill_rate=300),
    Engine("quix", "Quix Streams, at least once", python_engine("quix_state"), readable="topic", share=0.2),
    Engine(
        "quix-exactly-once",
        "Quix Streams, exactly once",
        python_engine("quix_state"),
        readable="topic",
        guarantee="exactly_once",
        share=0.2,
    ),
    Engine("bytewax", "Bytewax", python_engine("bytewax_flow"), readable="topic"),
    Engine("flink", "PyFlink", python_engine("flink_state", home="flink"), readable="topic", share=0.02, kill_rate=300),
    Engine("kafka-streams", "Kafka Streams, at least once", kafka_streams),
    Engine(
        "kafka-streams-exactly-once",
        "Kafka Streams, exactly_once_v2",
        kafka_streams,
        guarantee="exactly_once",
    ),
    Engine("redis", "aiokafka and Redis", python_engine("redis_counters"), readable="redis"),
    Engine("raw-aiokafka", "aiokafka, only reading", own_python("raw_aiokafka"), readable="", share=3.0, why_not=LIMIT),
    Engine(
        "raw-confluent", "confluent-kafka, only reading", python_engine("raw_confluent"), readable="", why_not=LIMIT
    ),
)
