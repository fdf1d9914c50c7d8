"""``LargeDict``: a dict that never takes long to grow.

A dict that is full moves all its entries into a larger table, in one step: 4 ms for 43,690 entries, 70 ms for 700,000.
Requests and heartbeats would wait so long. So a full ``LargeDict`` opens PARTS more dicts, and puts each further key
into one of them, by the key's hash::

    up to first_max entries    first
    further ones               first  +  parts[0]  parts[1]  ...  parts[63]

A part moves 4 ms of entries when all parts together have 2.8 million.

The garbage collector does not visit a ``LargeDict``, and CPython up to 3.13 does not visit a dict whose keys and values
it need not visit. So a full collection takes no longer for more accounts, calls or cells, if their tables are these:
keys and values are texts, numbers, or Structs with ``gc=False``; no tuples, which the collector visits when they are
new, and the dict with them. What refers to itself through such tables is never freed by the collector.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, Generic, TypeVar, cast, overload

from ecounters.native import COMPILED, as_struct, untrack

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

PARTS: Final = 64

_MISSING: Final = object()


class Limits:
    """``first_max``: so many entries ``first`` has at most: it would move them all for one more than 43,690.

    Tests lower it. No variable of the module: compiled code reads an attribute of a Final many times as fast.
    """

    first_max: int = 43_000


LIMITS: Final = Limits()


class LargeDict(Generic[K, V]):
    """A mapping with the methods of a dict that this project uses. ``for`` yields its keys, in no particular order.

    ``first`` has all entries until it is full; then ``parts`` has the further ones. Where a look-up must be fast, look
    into ``first`` before: a key that is there is in no part. Change both through the methods alone, or as ``room``
    allows it.
    """

    first: dict[K, V] = {}
    parts: tuple[dict[K, V], ...] = ()

    def __init__(self) -> None:
        untrack(self)

    def tables(self) -> tuple[dict[K, V], ...]:
        """The dicts that have the entries: ``first``, then ``parts``."""
        return self.first, *self.parts

    def room(self, entries: int) -> dict[K, V] | None:
        """``first``, if it has all entries and may get so many new ones; else None."""
        return self.first if not self.parts and len(self.first) + entries <= LIMITS.first_max else None

    # Without parts, as nearly always, each method uses ``first`` directly: a further call would cost as much again.

    def _part(self, key: K) -> dict[K, V]:
        """The dict that has the key, or else one without it, if there are parts.

        By the hash of a tuple: that of an int is the int itself, so that all of some statuses would be in one part.
        """
        return self.first if key in self.first else self.parts[hash((key,)) % PARTS]

    def _taker(self, key: K) -> dict[K, V]:
        """The dict that has the key, or else the one that gets it."""
        if not self.parts:
            if len(self.first) < LIMITS.first_max or key in self.first:
                return self.first
            self.parts = tuple({} for _ in range(PARTS))
        return self._part(key)

    def __len__(self) -> int:
        return len(self.first) + sum(map(len, self.parts)) if self.parts else len(self.first)

    def __bool__(self) -> bool:
        return bool(self.first) or bool(self.parts and any(self.parts))

    def __contains__(self, key: K) -> bool:
        return key in self.first or bool(self.parts and key in self._part(key))

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self.tables())

    def __eq__(self, other: object) -> bool:
        """Whether the other, a dict or LargeDict, has the same entries."""
        if not isinstance(other, dict | LargeDict):
            return NotImplemented
        return len(self) == len(other) and all(other.get(key, _MISSING) == value for key, value in self.items())

    def __repr__(self) -> str:
        return f"LargeDict({dict(self)!r})"

    def __getitem__(self, key: K) -> V:
        return self._part(key)[key] if self.parts else self.first[key]

    def __setitem__(self, key: K, value: V) -> None:
        if not self.parts and len(self.first) < LIMITS.first_max:
            self.first[key] = value
        else:
            self._taker(key)[key] = value

    def __delitem__(self, key: K) -> None:
        if self.parts:
            del self._part(key)[key]
        else:
            del self.first[key]

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: object = None) -> object:
        """The value of the key, or the default."""
        return self._part(key).get(key, default) if self.parts else self.first.get(key, default)

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: D) -> V | D: ...
    def pop(self, key: K, default: object = _MISSING) -> object:
        """Remove the key and return its value; the default, or KeyError without one, if the key is not there."""
        part = self._part(key) if self.parts else self.first
        return part.pop(key) if default is _MISSING else part.pop(key, cast(V, default))

    def discard(self, key: K) -> None:
        """Remove the key if it is there. Compiled, faster than ``pop``, which calls a dict's method by its name."""
        table = self._part(key) if self.parts else self.first
        if key in table:
            del table[key]

    def popitem(self) -> tuple[K, V]:
        """Remove and return one (key, value). Raises KeyError if there is none."""
        if self.parts:
            for part in self.parts:
                if part:
                    return part.popitem()
        return self.first.popitem()

    def draining(self) -> Iterator[K]:
        """Remove one entry after the other, and yield its key. Add nothing meanwhile."""
        for table in self.tables():
            while table:
                yield table.popitem()[0]

    def setdefault(self, key: K, value: V) -> V:
        """The value of the key; adds ``value`` for a key that is not there."""
        return self._taker(key).setdefault(key, value)

    def keys(self) -> Iterator[K]:
        """All keys, so that ``dict`` can copy it."""
        return iter(self)

    def items(self) -> Iterator[tuple[K, V]]:
        """All (key, value)."""
        return chain.from_iterable(table.items() for table in self.tables())

    def values(self) -> Iterator[V]:
        """All values."""
        return chain.from_iterable(table.values() for table in self.tables())

    def values_by_table(self) -> Iterator[list[V]]:
        """The values of one table after the other, each as it is when its turn comes: all may be changed meanwhile.

        A list of all values takes long to make if there are many, and each garbage collection visits all of it.
        """
        for table in self.tables():
            yield list(table.values())

    def clear(self) -> None:
        """Remove everything, and free the tables. Empty it by ``popitem`` before, if it may be large."""
        self.first.clear()
        self.parts = ()


if not COMPILED:
    LargeDict = as_struct(LargeDict)
