"""Classes of which there are very many objects: native ones if they are compiled, msgspec Structs if they are not.

mypyc compiles the packages that every event goes through, see ``deploy/build_hook.py``. A class without a metaclass
becomes a native class then: an attribute is a field of a C struct, and an integer is kept in it without an object. The
same class, interpreted, would need more memory and time than a Struct. So its module ends with::

    if not COMPILED:
        Leg = as_struct(Leg)

A class for this lists its attributes with their defaults. ``__init__`` takes some of them, from the first on, in their
order, and does nothing but set them: a Struct has an ``__init__`` of its own. A default is made anew for each object.
The garbage collector visits neither kind of object, see ``large_dict``.

A compiled generator that is dropped before its end does not run its ``finally``: close it.

mypyc puts the value of a Final into the code, or reads it fast; another variable of a module costs a look-up. What
is constant is Final, and a limit that tests lower is an ``int`` or, where each event needs it, an attribute of a Final.
"""

from __future__ import annotations

import ctypes
from types import new_class
from typing import Any, Final

from msgspec import Struct, field

COMPILED: Final = not __file__.endswith(".py")
"""Whether this package is compiled. mypy takes it for True: see pyproject.toml."""

BUILD: Final = "compiled" if COMPILED else "pure"
"""The same as a word."""

untrack: Final = ctypes.pythonapi.PyObject_GC_UnTrack
"""``untrack(thing)``: the garbage collector does not visit it. For generic classes: mypyc lets none be acyclic."""
untrack.argtypes = [ctypes.py_object]
untrack.restype = None

_KEPT: Final = (int, str, tuple, type(None))
"""The types of defaults that all objects can share."""
_OF_CLASSES: Final = ("__dict__", "__weakref__", "__init__")
"""What a Struct has of its own."""


def as_struct(cls: Any, merged: Any = None) -> Any:
    """A Struct with the attributes, defaults and methods of a class.

    Like the class, it is equal to itself alone, unless it has a method ``__eq__``. ``merged``: a class whose attributes
    the Struct has too, in place of properties: interpreted, each use of a property is a call.
    """
    content = {name: value for name, value in vars(cls).items() if name not in _OF_CLASSES}
    if merged is not None:
        content |= {name: vars(merged)[name] for name in merged.__annotations__}
        content["__annotations__"] = {**cls.__annotations__, **merged.__annotations__}
    for name in content["__annotations__"]:
        default = content.get(name)
        if not isinstance(default, _KEPT):
            content[name] = field(default_factory=type(default))
    bases = (Struct, *getattr(cls, "__orig_bases__", ()))
    return new_class(cls.__name__, bases, {"gc": False, "eq": False}, lambda namespace: namespace.update(content))
