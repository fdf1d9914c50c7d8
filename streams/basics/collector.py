"""Python's garbage collector in processes that hold many objects without cycles."""

from __future__ import annotations

import gc
from typing import Final

GC_THRESHOLDS: Final = (10_000, 1_000, 1_000)
"""Thresholds of the three generations. Calls, cells and entries form no cycles, but Python's defaults would traverse
all of them many times a second. A traversal of 10,000 new objects takes 2 to 10 ms, in one step of the event loop; of
50,000 it took up to 38 ms. Each new object is traversed once, however many are traversed at a time."""


SHORT_STEPS: Final = (10_000, 1, 100)
"""Thresholds for a worker: how many new objects, and how many collections of the generation before.

A collection is one step of the event loop. So the middle generation is collected often, while it is small. A full
collection visits all objects that can be in a cycle. Accounts, calls and cells are none of them, see ``large_dict``,
and neither are refused events that wait to be saved. So it is mostly short too, and a cycle that nobody uses any more,
such as a connection with the traceback of its error, is freed: after some 3 million new objects."""


def collect_seldom() -> None:
    """Let the collector of this process traverse new objects GC_THRESHOLDS at a time."""
    gc.set_threshold(*GC_THRESHOLDS)


def collect_in_short_steps() -> None:
    """Let the collector of this process run as SHORT_STEPS say."""
    gc.set_threshold(*SHORT_STEPS)


def leave_out_what_is_there() -> None:
    """Let no collection visit what this process has by now, such as modules. It must be needed until the end."""
    gc.collect()
    gc.freeze()
