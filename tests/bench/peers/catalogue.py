"""All engines of the comparison, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.bench.peers.engine import Engine, own_python, python_engine

LIMIT: Final = "a limit: it drops what it reads, so there is neither latency nor anything that a kill could spoil"

ENGINES: Final = (
    Engine("raw-aiokafka", "aiokafka, only reading", own_python("raw_aiokafka"), readable="", why_not=LIMIT),
    Engine(
        "raw-confluent", "confluent-kafka, only reading", python_engine("raw_confluent"), readable="", why_not=LIMIT
    ),
)
