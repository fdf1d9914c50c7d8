"""Interning: equal texts are one object, and the table of them does not grow without end."""

from __future__ import annotations

import pytest

from ecounters.calls import texts
from ecounters.calls.texts import forget_texts, same


def test_equal_texts_become_one_object() -> None:
    """Two texts of two messages are two objects; what records hold is one."""
    first, second = "".join(["12", "34"]), "".join(["12", "34"])
    assert first is not second
    assert same(first, first) is same(second, second)


def test_a_full_table_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its limit, and not before."""
    monkeypatch.setattr(texts, "_SAME_MAX", 2)
    texts._SAME.clear()
    for text, size in (("a", 1), ("b", 2), ("c", 3), ("d", 1)):
        forget_texts()
        same(text, text)
        assert len(texts._SAME) == size
