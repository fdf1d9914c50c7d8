"""Emptying collections step by step: to free many calls, numbers or cells at once is one long step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ecounters.large_dict import LargeDict


def emptying(*collections: list[Any] | dict[Any, Any] | LargeDict[Any, Any]) -> Iterator[None]:
    """Remove everything from lists and dicts, one item after the other; yield after each item."""
    for collection in collections:
        if isinstance(collection, list):
            while collection:
                collection.pop()
                yield
        else:
            while collection:
                collection.popitem()
                yield
            collection.clear()  # frees the table, which ``popitem`` keeps
