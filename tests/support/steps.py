"""How long the steps of a generator take: what the domain does in steps must not hold up the event loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from itertools import islice
from typing import Final

STEP_MS: Final = 60.0
"""No step of the domain may take so long, of 100,000 things. Most take less than 1 ms, and some 5 ms, in which a dict
of so many keys grows. A virtual machine may lose its processor for some 10 ms now and then, and count that time too."""


def longest_step_ms(steps: Iterable[object], at_once: int = 1) -> float:
    """Run all steps, ``at_once`` of them without a pause; returns the longest time from one pause to the next.

    Processor time of this thread, in ms, without the garbage collector: a busy machine makes no difference.
    """
    longest, iterator, size = 0.0, iter(steps), at_once
    gc.collect()
    gc.disable()
    try:
        while size == at_once:
            began = time.thread_time()
            size = sum(1 for _ in islice(iterator, at_once))
            longest = max(longest, time.thread_time() - began)
    finally:
        gc.enable()
    return longest * 1000
