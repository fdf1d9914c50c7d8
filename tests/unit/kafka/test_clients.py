"""Every client of Kafka is made in one place."""

from __future__ import annotations

import ast
from pathlib import Path

STREAMS = Path(__file__).parents[3] / "streams"
PLACE = STREAMS / "kafka" / "clients.py"
CLASSES = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaClient", "AIOKafkaAdminClient"}


def made(tree: ast.AST) -> list[str]:
    """Calls that make one of aiokafka's clients, and options that name brokers to one."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name) and call.func.id in CLASSES]
    names += [call.func.attr for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in CLASSES]
    words = [word.arg for call in calls for word in call.keywords if word.arg == "bootstrap_servers"]
    return names + words


def test_clients_of_kafka_are_made_in_one_place() -> None:
    """A client made elsewhere would know nothing of passwords and certificates."""
    places = [path for path in STREAMS.rglob("*.py") if made(ast.parse(path.read_text(encoding="utf-8")))]
    assert places == [PLACE]


def test_the_check_finds_a_client_made_elsewhere() -> None:
    """By its class, by the class of its module, and a subclass by its option."""
    text = "AIOKafkaClient()\naiokafka.AIOKafkaProducer()\nSharedClient(bootstrap_servers=x)"
    assert made(ast.parse(text)) == ["AIOKafkaClient", "AIOKafkaProducer", "bootstrap_servers"]
