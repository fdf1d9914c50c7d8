"""``LogAgain``: how often a line is logged that stays true for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

AGAIN_S: Final = 60.0
"""A line that still holds is logged again after this time."""


class LogAgain:
    """Tells when a line is due: the first time, and then every AGAIN_S at most. ``clock``: monotonic seconds."""

    __slots__ = ("_again_s", "_clock")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._again_s = 0.0

    def is_due(self) -> bool:
        """Whether to log the line now. After True it is not due for AGAIN_S."""
        now_s = self._clock()
        if now_s < self._again_s:
            return False
        self._again_s = now_s + AGAIN_S
        return True

    def reset(self) -> None:
        """The next line is another one, so it is due at once."""
        self._again_s = 0.0
