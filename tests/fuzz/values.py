"""Target "values": bytes to the parsers.

The quick and the careful way of the package's parser must agree, the recount's parser must agree with both, nothing but
BadEvent is raised, and no value takes long.
"""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any, ClassVar, Final

from hypothesis import strategies as st

from ecounters.events.parse import SNAPSHOT_BYTES_MAX, VALUE_BYTES_MAX, _parse_carefully, parse
from ecounters.events.types import TYPES
from tests.fuzz.rounds import shortest
from tests.support.both_parsers import NAMES, WILD, counted, fields_of, outcome, recounted
from tests.support.builders import T0_MS
from tests.support.event_strategies import almost_events
from tests.support.log_strategies import made_event

LONGEST_S: Final = 0.25
"""No value takes longer, in s of the processor: far above what one takes, and far below what is not linear."""
SHOWN: Final = 4_000


def written(kind: str, pick: int, wild: list[tuple[int, str]], at: int) -> bytes:
    """An event with odd values in some fields, mostly of its type; they stand before or after the right ones."""
    names = (*fields_of(kind) * 9, *NAMES)
    parts = [
        f"{json.dumps(name)}:{json.dumps(value)}" for name, value in made_event(kind, 0, 0, T0_MS, pick, "e").items()
    ]
    odd = [f'"{names[name % len(names)]}":{text}' for name, text in wild]
    at %= len(parts) + 1
    return ("{" + ",".join([*parts[:at], *odd, *parts[at:]]) + "}").encode()


def grown(value: bytes, size: int, filler: bytes) -> bytes:
    """A value that is filled up to about ``size`` bytes: before its last byte, as an unknown field, or as ids."""
    missing = max(0, size - len(value))
    if filler == b"ids":
        return value.replace(b'"callIds":[', b'"callIds":[' + b'"0123456789abcdef",' * (missing // 19), 1)
    if filler == b"deep":
        return value[:-1] + b',"x":' + b"[" * (missing // 2) + b"]" * (missing // 2) + b"}"
    return value[:-1] + b',"x":"' + filler * (missing // len(filler)) + b'"}'


def patched(value: bytes, seed: int, patches: int) -> bytes:
    """A value in which some bytes are changed, added, removed or doubled."""
    random = Random(seed)
    for _ in range(patches):
        at = random.randrange(len(value) + 1)
        cut = random.choice((0, 0, 1, 1, 2, 5, 20))
        put = random.choice((b"", random.randbytes(1), random.choice(PIECES), value[at : at + random.randrange(30)]))
        value = value[:at] + put + value[at + cut :]
    return value


PIECES: Final = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"\\u0000", b"\\ud800", b"\xff", b"\xed\xa0\x80",
    b"\xef\xbb\xbf",     b"\x00", b"1e999", b"-", b"0", b"9" * 30, b".", b"\r\n", b" ", b'"id":"x",',
    b'"type":"call.ended",', b'"ts":1,', b"\xe2\x80\x90",
)  # fmt: skip

_written = st.builds(
    written,
    st.sampled_from(sorted(TYPES)),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**4), st.sampled_from(WILD)), max_size=3),
    st.integers(0, 9),
)
_almost = almost_events().map(lambda event: json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
_events = _written | _written | _almost
_sizes = st.sampled_from(
    (VALUE_BYTES_MAX - 30, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 30, 300_000, SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MAX + 30)
)
_grown = st.builds(grown, _events, _sizes, st.sampled_from((b"ids", b"deep", b"x", b"\\u00e9", "\u4e2d".encode())))


def _patched(values: st.SearchStrategy[bytes], least: int, most: int) -> st.SearchStrategy[bytes]:
    return st.builds(patched, values, st.integers(0, 2**32), st.integers(least, most))


class Values:
    """The target. An input is the value of a Kafka message."""

    name: ClassVar[str] = "values"
    inputs: ClassVar[st.SearchStrategy[Any]] = st.one_of(
        *[_events] * 8,
        *[_patched(_events, 1, 6)] * 12,
        st.binary(max_size=300),
        st.none(),
        # Large values take long, so they are rare.
        st.integers(0, 5).flatmap(
            lambda n: _events if n else st.builds(patched, _grown, st.integers(0, 2**32), st.integers(0, 2))
        ),
    )

    def check(self, given: bytes | None) -> None:
        """AssertionError where the parsers differ or take too long; whatever else one of them raises."""
        began = time.process_time()
        quick = outcome(parse, given)
        took = time.process_time() - began
        assert took < LONGEST_S, f"{took:.3f} s"
        if given is None or len(given) <= VALUE_BYTES_MAX:
            assert quick == outcome(_parse_carefully, given)
        assert counted(given) == recounted(given)

    def told(self, given: Any) -> str:
        """The shortest value that fails."""
        left = given if given is None else shortest(given, self.check)
        return f"{len(left or b'')} bytes: {left[:SHOWN] if left else left!r}"
