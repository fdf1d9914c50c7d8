"""The parser on any bytes: an event or BadEvent; and its two ways agree."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecounters.events.parse import _parse_carefully, parse
from tests.support.both_parsers import outcome
from tests.support.builders import T0_MS
from tests.support.event_strategies import almost_events, values


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b'{"type":"\xed\xa0\x80"}')
def test_any_bytes_are_parsed_or_refused(value: bytes) -> None:
    """parse raises BadEvent and nothing else for any bytes."""
    outcome(parse, value)


@settings(max_examples=200)
@given(values)
def test_any_json_is_parsed_or_refused(value: Any) -> None:
    """parse raises BadEvent and nothing else for any JSON."""
    outcome(parse, json.dumps(value).encode())


@settings(max_examples=600)
@given(almost_events())
def test_the_quick_parser_equals_the_careful_one(event: dict[str, Any]) -> None:
    """Both parsers accept the same events, and read the same fields."""
    value = json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert outcome(parse, value) == outcome(_parse_carefully, value)


@settings(max_examples=400)
@given(almost_events(), st.integers(0, 10**6), st.binary(min_size=1, max_size=3), st.booleans())
def test_both_parsers_agree_on_corrupted_events(event: dict[str, Any], at: int, spoilt: bytes, insert: bool) -> None:
    """Both parsers agree where a few bytes of an event are changed."""
    value = json.dumps(event).encode()
    at %= len(value)
    value = value[:at] + spoilt + value[at if insert else at + len(spoilt) :]
    assert outcome(parse, value) == outcome(_parse_carefully, value)


@settings(max_examples=200)
@given(almost_events(), st.integers(-720, 720), st.integers(0, 999))
def test_a_ts_in_rfc_3339_equals_the_ts_in_ms(event: dict[str, Any], minutes: int, ms: int) -> None:
    """A ts as text with any offset is the same moment as in ms."""
    from datetime import UTC, datetime, timedelta, timezone

    moment = datetime.fromtimestamp(T0_MS / 1000, UTC).astimezone(timezone(timedelta(minutes=minutes)))
    text = moment.isoformat(timespec="seconds")
    with_ms = f"{text[:19]}.{ms:03}{text[19:]}"
    spelled = json.dumps(event | {"ts": with_ms}).encode()
    assert outcome(parse, spelled) == outcome(parse, json.dumps(event | {"ts": T0_MS + ms}).encode())
