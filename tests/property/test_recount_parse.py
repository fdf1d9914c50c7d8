"""The recount's parser and the package's give the same fields or the same refusal for any message."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecounters.events.types import TYPES
from tests.support.both_parsers import NAMES, WILD, counted, recounted
from tests.support.builders import T0_MS, encoded
from tests.support.log_strategies import BROKEN, made_event


@settings(max_examples=500)
@given(
    st.sampled_from(sorted(TYPES)),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(WILD)), max_size=3),
    st.none() | st.tuples(st.integers(0, 10**4), st.binary(max_size=3), st.integers(0, 3)),
)
def test_both_parsers_agree_on_any_message(
    kind: str, pick: int, wild: list[tuple[str, str]], patch: tuple[int, bytes, int] | None
) -> None:
    """Fields or refusal are the same where fields are anything, doubled, or bytes are changed."""
    parts = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in made_event(kind, 0, 0, T0_MS, pick, "e").items()]
    value = ("{" + ",".join([*parts, *(f'"{name}":{text}' for name, text in wild)]) + "}").encode()
    if patch is not None:
        at, put, cut = patch[0] % len(value), *patch[1:]
        value = value[:at] + put + value[at + cut :]
    assert counted(value) == recounted(value)


@pytest.mark.parametrize("kind", TYPES)
def test_both_parsers_agree_on_every_field(kind: str) -> None:
    """Each type of event is read alike with every odd value in every field, and without the field."""
    for name in NAMES:
        event = {k: v for k, v in made_event(kind, 0, 0, T0_MS, 0, "e").items() if k != name}
        values = [(json.dumps(event)[:-1] + f',"{name}":{text}}}').encode() for text in WILD]
        for value in (encoded(event), *values):
            assert counted(value) == recounted(value), value


def test_both_parsers_refuse_the_same() -> None:
    """Messages that are no JSON object, or empty, are refused for the same reason."""
    utf_16, deep, large = "{}".encode("utf-16"), b"[" * 30_000, b" " * 65_536
    texts = b'1 "x" null NaN {"\\ud800":1} {}x \xef\xbb\xbf{} \xff'.split()
    snapshot = b'{"type":"switch.snapshot","x":"' + b"x" * 65_536
    no_snapshots = (snapshot + b'\xff"}', snapshot + b'\\ud800"}', snapshot + b'"', snapshot + b'",NaN}')
    for value in (*BROKEN, *texts, b" {} ", b"9" * 5000, utf_16, deep, large, large + b" ", *no_snapshots):
        assert counted(value) == recounted(value)
        assert counted(value).startswith("(")
