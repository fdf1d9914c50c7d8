"""The bytes of a large reply, made part by part: the same as ``payload.body`` makes at once.

    parts = message_parts(totals, KEYS, fields)     # or series_parts
    content = b"".join(body_parts(parts))           # the caller may pause after each part

A part takes some 1 ms at most. Some parts are empty: they stand for work that has no bytes of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, TypeVar

import orjson

from ecounters.counters.definitions import COUNTERS, Kind
from ecounters.large_dict import LargeDict
from ecounters.reports.payload import is_whole, value_of
from ecounters.reports.totals import Totals

STEP: Final = 1_000
"""So many entries of a map are looked at or sorted for one part."""
RENDERED: Final = 250
"""So many entries are rendered for one part: in a map of 400,000, to find one takes 10 µs and more."""
RUN_MAX: Final = 16_000
"""Sorted lists are merged in C up to this length, which takes some 1 ms; longer ones one entry at a time."""

OddNumber = tuple[int, str]
"""A key of a map that is a whole number but not written as Python writes it, such as "007": (the number, the key).

Negative numbers and 0 count as odd too."""
Row = TypeVar("Row", int, str, OddNumber)


def body_parts(message: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the body of a successful reply. ``message``: the parts of its message."""
    yield b'{"message":'
    yield from message
    yield b',"status":"success"}'


def message_parts(totals: Totals, keys: Iterable[str]) -> Iterator[bytes]:
    """The parts of a message with these counters, in their order; a single one for small totals.

    A repeated key changes nothing.
    """
    if totals.size <= STEP:
        yield orjson.dumps({key: value_of(key, totals) for key in dict.fromkeys(keys)})
        return
    separator = b"{"
    for key in dict.fromkeys(keys):
        yield separator + orjson.dumps(key) + b":"
        separator = b","
        entries = _entries(key, totals)
        if entries is None:
            yield orjson.dumps(value_of(key, totals))
        else:
            yield from map_parts(entries)
    yield b"}"


def series_parts(steps: Iterable[tuple[dict[str, Any], Iterable[bytes]]]) -> Iterator[bytes]:
    """The parts of the message of a series. ``steps``: for each step, ("from" and "to", the parts of its message)."""
    separator = b"["
    for bounds, message in steps:
        yield separator + orjson.dumps(bounds)[:-1] + b',"message":'
        yield from message
        yield b"}"
        separator = b","
    yield b"]"


def _entries(key: str, totals: Totals) -> dict[str, int] | LargeDict[str, int] | None:
    """The entries of a counter that is a map, and perhaps some for "" or with 0, which do not count.

    None for a counter that is a number.
    """
    counter = COUNTERS[key]
    if counter.kind == Kind.CALL_MAP:
        return totals.calls_with_zeros(counter.source[0])
    if counter.kind == Kind.LIVE_MAP:
        return totals.live_by(counter.source[0])
    if counter.kind == Kind.INPUT_MAP:
        return totals.inputs(counter.key)
    return None


def map_parts(entries: dict[str, int] | LargeDict[str, int]) -> Iterator[bytes]:
    """The parts of a map in the order of a reply, see ``payload.in_order``. Leaves out the key "" and zeros."""
    numbers: list[int] = []  # ints take less time and memory than the rows of ``in_order``
    odd_numbers: list[OddNumber] = []
    others: list[str] = []
    items = iter(entries.items())
    while batch := list(islice(items, STEP)):
        for name, value in batch:
            if not name or not value:
                continue
            if not is_whole(name):
                others.append(name)
            elif name[0] in "0-":
                odd_numbers.append((int(name), name))
            else:
                numbers.append(int(name))
        yield b""
    names: Iterator[str] = map(str, (yield from _sorted(numbers)))
    if odd_numbers:
        rows = ((int(name), name) for name in names)
        names = (name for _, name in heapq.merge(rows, (yield from _sorted(odd_numbers))))
    names = chain(names, (yield from _sorted(others)))
    separator = b"{"
    while part := {name: entries[name] for name in islice(names, RENDERED)}:
        yield separator + orjson.dumps(part)[1:-1]
        separator = b","
    yield b"}" if separator == b"," else b"{}"


def _sorted(rows: list[Row]) -> Generator[bytes, None, Iterator[Row]]:
    """Sort rows in steps; yield an empty part after each. Returns an iterator over the sorted rows.

    Takes the rows out of the list, and keeps none that was yielded: to free very many at once is a long step.
    """
    runs = []
    while rows:
        runs.append(sorted(rows[-STEP:]))
        del rows[-STEP:]
        yield b""
    size = STEP
    while len(runs) > 1 and size < RUN_MAX:
        size *= 2
        merged = []
        for at in range(0, len(runs), 2):
            run = sum(runs[at + 1 : at + 2], runs[at])
            run.sort()
            merged.append(run)
            yield b""
        runs = merged
    return heapq.merge(*map(_taken, runs))


def _taken(run: list[Row]) -> Iterator[Row]:
    """Take the rows out of a list, from its begin on."""
    run.reverse()
    while run:
        yield run.pop()
