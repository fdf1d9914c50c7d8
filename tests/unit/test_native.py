"""Native classes and the Structs in their place behave alike."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecounters.calls.extras import Extras
from ecounters.calls.items import IvrLink, Leg
from ecounters.calls.large import LargeCall
from ecounters.calls.record import Call
from ecounters.large_dict import LargeDict
from ecounters.native import BUILD, COMPILED, as_struct
from ecounters.partition.user import User
from ecounters.windows.cell import Cell
from ecounters.windows.dims import Dims
from ecounters.windows.span import Span

ROOT = Path(__file__).parent.parent.parent
DIMS = Dims("IBD", "", "", None)


class Thing:
    """A class as ``ecounters.native`` describes it."""

    name: str
    count: int = 0
    table: dict[str, int] = {}  # noqa: RUF012
    inner: LargeDict[str, int] = LargeDict()

    def __init__(self, name: str, count: int = 0) -> None:
        self.name = name
        self.count = count

    def doubled(self) -> int:
        """Twice the count."""
        return 2 * self.count


def test_a_struct_has_the_attributes_defaults_and_methods_of_its_class() -> None:
    """Its own ``__init__`` takes what that of the class takes; each object has tables of its own."""
    made: Any = as_struct(Thing)
    one, other = made("one", 2), made(name="other")
    one.table["a"] = one.inner["a"] = 1
    assert (one.name, one.count, one.doubled(), other.count, other.table, len(other.inner)) == ("one", 2, 4, 0, {}, 0)
    assert (made.__doc__, made.__name__, made.__module__) == (Thing.__doc__, "Thing", __name__)
    assert one != made("one", 2) and len({one, other}) == 2


def test_a_call_has_the_fields_of_its_extras() -> None:
    """A field without a property would be there in one build alone. To set a default makes no extras."""
    made, extras = Call("c", User("u")), Extras()
    for name in dir(extras):
        if not name.startswith("_"):
            assert getattr(made, name) == getattr(extras, name)
            setattr(made, name, getattr(extras, name))
            assert made.extras is None
    made.end = 5
    assert (made.end, made.end_id, made.large) == (5, "", None)


MAKES = [
    lambda: Leg("1"), LargeCall, lambda: Call("c", User("u")), LargeDict, lambda: User("u"), lambda: Span(0, 1),
    lambda: Cell(0, 1, DIMS, {}), lambda: IvrLink(1, "e", False, 1, "i", None),
]  # fmt: skip


@pytest.mark.parametrize("make", MAKES)
def test_no_two_objects_share_a_default_and_none_is_visited(make: Any) -> None:
    """A default that were made once would be one table for all accounts."""
    one, other = make(), make()
    gc.collect()
    assert not gc.is_tracked(one)
    names = getattr(type(one), "__struct_fields__", getattr(type(one), "__mypyc_attrs__", ()))
    tables = [name for name in names if isinstance(getattr(one, name, None), dict | list | LargeDict)]
    assert not [name for name in tables if getattr(one, name) is getattr(other, name)]


def test_the_build_is_the_one_that_the_hook_says() -> None:
    """Where it says nothing against it, the domain is compiled; where there is no library it is not."""
    command = [sys.executable, str(ROOT / "deploy" / "build_hook.py"), "--why-pure"]
    why = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if list((ROOT / "ecounters").rglob("*.so")):
        assert (COMPILED, BUILD) == (True, "compiled")
    else:
        assert (COMPILED, BUILD) == (False, "pure")
        assert why or ROOT.parent.name == "build", "it could be compiled, and is not"
