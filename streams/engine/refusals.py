"""``RefusalLog``: says in the log that events are refused, each kind once a minute at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

REPEAT_S: Final = 60.0
"""A kind of refusal, which is its reason and field, is logged once in this time at most, by all partitions together."""


class RefusalLog:
    """Logs refused events of a worker by kind. Never logs anything of an event but where it is: it may hold numbers.

    ``clock``: seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def note(self, reason: str, field: str, count: int, last: str) -> None:
        """Count ``count`` refusals of a kind, and log those that were not logged yet, unless it is too early.

        ``last``: topic/partition/offset of the last of them.
        """
        kind = reason, field
        unsaid = self._unsaid[kind] = self._unsaid.get(kind, 0) + count
        now = self._clock()
        if now < self._next.get(kind, 0.0):
            return
        self._next[kind] = now + REPEAT_S
        self._unsaid[kind] = 0
        events = f"{unsaid:,} events" if unsaid > 1 else "an event"
        why = f"{reason}, field {field}" if field else reason
        log.warning("refused %s: %s, last at %s; `ecounters dlq --reason %s` shows them", events, why, last, reason)
