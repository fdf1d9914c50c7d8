"""The tables of the documents, made from the code: ``python -m tests.support.readme`` writes them.

A table stands between two comments, ``<!-- payload -->`` and ``<!-- /payload -->``. ``TABLES`` says in which document
each one is. ``tests/test_documents.py`` fails where a document's table is not what the code says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry

from ecounters.counters.definitions import COUNTERS, Kind
from ecounters.errors import API_ERRORS, REASONS
from ecounters.events.types import TYPES
from streams.metrics.catalogue import Metrics
from streams.settings.table import SETTINGS
from tests.support.example import counters_of, events_of

ROOT: Final = Path(__file__).parent.parent.parent


class Table(NamedTuple):
    """A generated table: the document that it is in, and a function of that document's text that makes it."""

    document: str
    make: Callable[[str], str]


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def settings(_: str) -> str:
    """Every setting."""
    rows = ([f"`{row.env}`", f"`{row.default}`" if row.default else "", row.unit, row.why] for row in SETTINGS)
    return _table(("setting", "default", "unit", "why"), rows)


def payload(text: str) -> str:
    """The counters of every reply."""
    return _table(("key", "kind", "definition", "example", "calls"), _counters(text, in_payload=True))


def fields(text: str) -> str:
    """The counters that ``Field`` may ask for."""
    return _table(("key", "kind", "definition", "example", "calls"), _counters(text, in_payload=False))


def _counters(text: str, *, in_payload: bool) -> Iterable[Iterable[object]]:
    lines = re.search(r"<!-- calls -->\n```\n(.*?)```", text, re.DOTALL)
    example = counters_of(events_of(lines[1] if lines else ""))
    for counter in COUNTERS.values():
        if counter.in_payload is in_payload:
            by = f" ({counter.source[0]})" if counter.kind in (Kind.LIVE_MAP, Kind.CALL_MAP) else ""
            value, calls = example[counter.key]
            yield (
                f"`{counter.key}`", counter.kind.value + by, counter.definition, f"`{_json(value)}`", ", ".join(calls)
            )  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def events(_: str) -> str:
    """Every type of event."""
    rows = ([f"`{row.name}`", row.meaning, _code(row.required), _code(row.optional)] for row in TYPES.values())
    return _table(("type", "meaning", "needs", "may have"), rows)


def reasons(_: str) -> str:
    """Every reason of a dead letter."""
    return _table(("reason", "meaning"), ([f"`{reason}`", meaning] for reason, meaning in REASONS.items()))


def errors(_: str) -> str:
    """Every error of the API."""
    return _table(("code", "HTTP", "message"), ([code, e.http_status, e.text] for code, e in API_ERRORS.items()))


def metrics(_: str) -> str:
    """Every metric."""
    registry = CollectorRegistry()
    Metrics.create(registry)
    rows = ([f"`{metric.name}`", metric.type, metric.documentation] for metric in registry.collect())
    return _table(("metric", "type", "what"), rows)


TABLES: Final[dict[str, Table]] = {
    "events": Table("ecounters/events/README.md", events),
    "reasons": Table("ecounters/events/README.md", reasons),
    "payload": Table("ecounters/counters/README.md", payload),
    "fields": Table("ecounters/counters/README.md", fields),
    "errors": Table("streams/web/README.md", errors),
    "settings": Table("deploy/README.md", settings),
    "metrics": Table("deploy/README.md", metrics),
}

DOCUMENTS: Final = tuple(dict.fromkeys(table.document for table in TABLES.values()))
"""The documents that have generated tables."""


def rendered(document: str, text: str) -> str:
    """A document's text with its tables as the code says. ValueError if a table's place is missing."""
    for name, table in TABLES.items():
        if table.document != document:
            continue
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{document} must have one place for the table {name}: {begin.strip()} {end}")
        before, _, rest = text.partition(begin)
        text = before + begin + table.make(text) + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        path = ROOT / document
        path.write_text(rendered(document, path.read_text(encoding="utf-8")), encoding="utf-8")
