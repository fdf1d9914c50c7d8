"""The AsyncAPI document is complete, and its schemas accept what parse accepts and hardly more."""

from __future__ import annotations

import ast
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry

from ecounters.errors import REASONS, BadEvent
from ecounters.events.parse import parse
from ecounters.events.types import TEXT_MAX, TYPES
from ecounters.partition.records import Uncounted
from ecounters.simulator.world import Plan, simulate
from streams.engine.dead_letters import DEAD_LETTER_VALUE_MAX, UncountedBuffer
from streams.engine.refusals import RefusalLog
from streams.metrics.catalogue import Metrics
from streams.web.documents.asyncapi import document
from tests.support.builders import T0_MS
from tests.support.event_messages import OWN, least
from tests.support.event_strategies import almost_events

DOCUMENT = document("1", "some.topic")
VALID = {
    name: jsonschema_rs.Draft7Validator(schema).is_valid for name, schema in DOCUMENT["components"]["schemas"].items()
}
ROOT = Path(__file__).parents[3]


@dataclass
class KeyedRecord:
    """A record of the topic of events."""

    value: bytes | None
    key: bytes | None = b"u1"
    offset: int = 7
    timestamp: int = 0


def refusal(event: dict[str, Any]) -> tuple[str, str] | None:
    """(reason, field) if it cannot be counted."""
    try:
        parse(json.dumps(event).encode())
    except BadEvent as bad:
        return bad.reason, bad.field
    return None


def test_every_reference_leads_somewhere() -> None:
    """Every reference leads to a component, and every type of event is a message with a payload."""
    text = json.dumps(DOCUMENT)
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    for reference in references:
        at: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
    assert {f"#/components/schemas/{name}" for name in TYPES} <= references
    assert DOCUMENT["channels"]["events"]["address"] == "some.topic"
    assert set(DOCUMENT["channels"]["events"]["messages"]) == set(TYPES)


def test_every_schema_is_one() -> None:
    """Every schema is right by the metaschema of draft 7, on which those of AsyncAPI are based."""
    for schema in [
        *DOCUMENT["components"]["schemas"].values(),
        DOCUMENT["components"]["messages"]["deadLetter"]["headers"],
    ]:
        jsonschema_rs.meta.validate({"$schema": "http://json-schema.org/draft-07/schema#", **schema})


@pytest.mark.parametrize("kind", list(OWN))
def test_what_an_event_needs_is_needed(kind: str) -> None:
    """The least event is right; without any one of its fields, or with null or an empty id, it is not."""
    event = least(kind)
    assert VALID[kind](event)
    for name in event:
        assert not VALID[kind]({key: value for key, value in event.items() if key != name})
        assert not VALID[kind]({**event, name: None})
    for name in ("id", "userId", "callId", "switchId"):
        assert not VALID[kind]({**event, name: ""}) or name not in event
    assert VALID[kind]({**event, "new": {"of": "a newer switch"}})


def test_made_up_events_are_right() -> None:
    """The events of the simulator, which are counted, are valid."""
    for message in itertools.islice(simulate(Plan(start_ms=T0_MS)), 3_000):
        event = json.loads(message.value)
        assert VALID[event["type"]](event), event


VALUES: list[Any] = [
    None, "", "0", "1", "-1", "2.5", "1e3", "x", "IBD", "x" * 64, "x" * 65, "x" * 128, "x" * 129, 0, 1, -3, 1001, 2**31,
    10**15 + 1, 10**130, T0_MS, str(T0_MS), 1.0, 1.5, True, [], [""], ["c1"], [7], {}, "2026-03-01T12:00:00Z",
    "2026-03-01T12:00:00", "2026-03-01 12:00:00.25+05:30",
]  # fmt: skip


@pytest.mark.parametrize("kind", list(TYPES))
def test_every_field_of_a_schema_takes_what_parse_takes(kind: str) -> None:
    """With any one value in any one field, an event that parse accepts is valid."""
    for name in ("id", "ts", "switchId", *TYPES[kind].required, *TYPES[kind].optional):
        for value in VALUES:
            check({**least(kind), name: value})


@given(almost_events())
def test_a_schema_takes_what_is_counted(event: dict[str, Any]) -> None:
    """An event in which several fields are anything is valid if parse accepts it."""
    check(event)


def check(event: dict[str, Any]) -> None:
    """An event that parse accepts is valid, and one that it refuses is not, where JSON Schema can tell."""
    kind = event.get("type")
    valid = VALID[kind](event) if isinstance(kind, str) and kind in VALID else False
    refused = refusal(event)
    assert valid or refused is not None, event
    assert not valid or refused is None or indistinct(event, *refused), (event, refused)


def indistinct(event: dict[str, Any], reason: str, field: str) -> bool:
    """Whether JSON Schema cannot tell it: a number as text that is out of range, 1.0 for 1, or too many digits."""
    value = event.get(field)
    if isinstance(value, str):
        return reason in ("bad_value", "bad_ts") and value != ""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and abs(value) >= 10**TEXT_MAX


def test_every_reason_is_known() -> None:
    """Every word with which a message is refused is in the table, and the other way round. Two are the worker's."""
    used = set()
    for path in (ROOT / "ecounters").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BadEvent":
                used |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    assert used | {"unreadable", "not_forwarded"} == set(REASONS)
    headers = DOCUMENT["components"]["messages"]["deadLetter"]["headers"]
    assert headers["properties"]["reason"]["enum"] == list(REASONS)


def test_every_header_of_a_dead_letter_is_known() -> None:
    """A dead letter, a truncated one, and that of a record batch have the headers of the document, and no others."""
    buffer = UncountedBuffer("events", 3, Metrics.create(CollectorRegistry()), RefusalLog())
    for value in (b"", b"x" * (DEAD_LETTER_VALUE_MAX + 1)):
        buffer.add([Uncounted(KeyedRecord(value), "late", "ts", "")])
    buffer.add_unreadable(5, 9, memoryview(b"batch"))
    written = [{name for name, _ in dead_letter.headers} for dead_letter in buffer.dead_letters]
    headers = DOCUMENT["components"]["messages"]["deadLetter"]["headers"]
    assert set.union(*written) == set(headers["properties"])
    assert set.intersection(*written) == set(headers["required"])
