"""The README's tables, made from the code: ``python -m tests.support.readme`` writes them into README.md.

A table stands between two comments, ``<!-- counters -->`` and ``<!-- /counters -->``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from ecounters.counters.definitions import COUNTERS, Kind
from ecounters.errors import API_ERRORS
from ecounters.events.types import TYPES
from streams.metrics.catalogue import Metrics
from streams.settings.table import SETTINGS

README: Final = Path(__file__).parent.parent.parent / "README.md"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def settings() -> str:
    """Every setting."""
    rows = ([f"`{row.env}`", f"`{row.default}`" if row.default else "", row.unit, row.why] for row in SETTINGS)
    return _table(("setting", "default", "unit", "why"), rows)


def payload() -> str:
    """What every answer holds."""
    return _table(("key", "kind", "definition"), _counters(in_payload=True))


def fields() -> str:
    """What ``Field`` may ask for."""
    return _table(("key", "kind", "definition"), _counters(in_payload=False))


def _counters(*, in_payload: bool) -> Iterable[Iterable[object]]:
    for counter in COUNTERS.values():
        if counter.in_payload is in_payload:
            by = f" ({counter.source[0]})" if counter.kind in (Kind.LIVE_MAP, Kind.CALL_MAP) else ""
            yield f"`{counter.key}`", counter.kind.value + by, counter.definition


def events() -> str:
    """Every type of event."""
    rows = ([f"`{row.name}`", row.meaning, _code(row.needs), _code(row.may)] for row in TYPES.values())
    return _table(("type", "meaning", "needs", "may have"), rows)


def errors() -> str:
    """Every error of the API."""
    return _table(("code", "HTTP", "message"), ([code, e.http_status, e.text] for code, e in API_ERRORS.items()))


def metrics() -> str:
    """Every metric."""
    registry = CollectorRegistry()
    Metrics.create(registry)
    rows = ([f"`{metric.name}`", metric.type, metric.documentation] for metric in registry.collect())
    return _table(("metric", "type", "what"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "payload": payload,
    "fields": fields,
    "events": events,
    "errors": errors,
    "metrics": metrics,
}


def rendered(text: str) -> str:
    """A README with its tables as they must be. ValueError if the place of one is missing."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md must have one place for the table {name}: {begin.strip()} {end}")
        before, _, rest = text.partition(begin)
        text = before + begin + make() + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
