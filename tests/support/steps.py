"""How long the steps of a generator take: what the domain does in steps must not hold up the event loop."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from typing import Final

STEP_MAX: Final = 2.0
"""No step of the domain may take so long, of 100,000 things. The unit is what this machine needs at the time to make a
dict of as many keys, some 7 ms; so a slow machine fails no test. Most steps take 0.1; 0.4 if a dict grows or is copied.
"""
TIMES: Final = 2


class Steps:
    """What is run in steps, once. ``took``: the processor time of each stretch without a pause; unit of STEP_MAX."""

    def __init__(self) -> None:
        self.took: list[float] = []

    def run(self, steps: Iterable[object], at_once: int = 1) -> None:
        """Run all steps, ``at_once`` of them without a pause; without the garbage collector."""
        iterator, size = iter(steps), at_once
        took_s: list[float] = []
        gc.collect()
        gc.disable()
        try:
            unit = unit_s()
            while size == at_once:
                began = time.thread_time()
                size = sum(1 for _ in islice(iterator, at_once))
                took_s.append(time.thread_time() - began)
            unit = max(unit, unit_s())
        finally:
            gc.enable()
        self.took.extend(step_s / unit for step_s in took_s)


@cache
def _keys() -> list[str]:
    """100,000 keys in no order. Made when they are used: a worker that is measured imports this module too."""
    return [str(key) for key in random.Random(1).sample(range(1_000_000), 100_000)]


def unit_s() -> float:
    """The unit of STEP_MAX, measured now: s of processor time."""
    keys = _keys()
    began = time.thread_time()
    dict.fromkeys(keys)
    return time.thread_time() - began


def longest_step(once: Callable[[Steps], None]) -> float:
    """The longest step of ``once``, in the unit of STEP_MAX. It is called twice, and must run the same steps each time.

    Of each step the shortest time counts: a virtual machine may lose its processor for some 10 ms now and then, and
    counts that time as the step's, but it hardly loses it in the same step each time.
    """
    tried = [Steps() for _ in range(TIMES)]
    for steps in tried:
        once(steps)
    shortest: list[float] = [min(times) for times in zip(*(steps.took for steps in tried), strict=True)]
    return max(shortest)
