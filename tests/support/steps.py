"""How long the steps of a generator take: what the domain does in steps must not hold up the event loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

STEP_MS: Final = 20.0
"""No step of the domain may take so long, of 100,000 things. Most take less than 1 ms, and some 5 ms, in which a dict
of so many keys grows."""
TIMES: Final = 2


class Steps:
    """What is run in steps, once. ``took_s``: the processor time of each stretch without a pause, in s."""

    def __init__(self) -> None:
        self.took_s: list[float] = []

    def run(self, steps: Iterable[object], at_once: int = 1) -> None:
        """Run all steps, ``at_once`` of them without a pause; without the garbage collector."""
        iterator, size = iter(steps), at_once
        gc.collect()
        gc.disable()
        try:
            while size == at_once:
                began = time.thread_time()
                size = sum(1 for _ in islice(iterator, at_once))
                self.took_s.append(time.thread_time() - began)
        finally:
            gc.enable()


def longest_step_ms(once: Callable[[Steps], None]) -> float:
    """The longest step of ``once``, in ms. It is called twice, and must run the same steps each time.

    Of each step the shortest time counts: a virtual machine may lose its processor for some 10 ms now and then, and
    counts that time as the step's, but it hardly loses it in the same step each time.
    """
    tried = [Steps() for _ in range(TIMES)]
    for steps in tried:
        once(steps)
    shortest_s: list[float] = [min(times) for times in zip(*(steps.took_s for steps in tried), strict=True)]
    return max(shortest_s) * 1000
