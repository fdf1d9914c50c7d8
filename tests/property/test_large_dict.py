"""LargeDict does what a dict does, also once it has opened further dicts."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from ecounters.large_dict import LargeDict

KEYS: Final = st.integers(0, 12) | st.text("ab", max_size=2) | st.tuples(st.text("ab", max_size=1), st.integers(0, 2))
ACTIONS: Final = st.sampled_from(("set", "delete", "get", "pop", "discard", "setdefault", "take", "clear"))


@given(st.lists(st.tuples(ACTIONS, KEYS, st.integers()), max_size=60))
def test_any_use_gives_what_a_dict_gives(steps: list[tuple[str, Any, int]]) -> None:
    """Which entry ``popitem`` takes is open."""
    large: LargeDict[Any, int] = LargeDict()
    plain: dict[Any, int] = {}
    for action, key, value in steps:
        if action == "set":
            large[key] = plain[key] = value
        elif action == "delete" and key in plain:
            del large[key], plain[key]
        elif action == "get" and key in plain:
            assert large[key] == plain[key]
        elif action == "pop":
            assert large.pop(key, None) == plain.pop(key, None)
        elif action == "discard":
            large.discard(key)
            plain.pop(key, None)
        elif action == "setdefault":
            assert large.setdefault(key, value) == plain.setdefault(key, value)
        elif action == "take" and plain:
            taken, its_value = large.popitem()
            assert plain.pop(taken) == its_value
        elif action == "clear" and value % 5 == 0:
            large.clear()
            plain.clear()
        assert (large.get(key), large.get(key, -1), key in large) == (plain.get(key), plain.get(key, -1), key in plain)
        assert large == plain and dict(large) == plain
        assert (len(large), bool(large), repr(large)[:10]) == (len(plain), bool(plain), "LargeDict(")
        assert sorted(map(str, large)) == sorted(map(str, plain))
        assert sorted(large.values()) == sorted(plain.values())
        assert dict(large.items()) == plain
        assert (room := large.room(1)) is None or (room == plain and len(plain) < 3)
