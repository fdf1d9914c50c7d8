"""``RefusalLog``: says in the log that events are refused, each kind once a minute at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from streams.basics.repeated import LogAgain

log = logging.getLogger(__name__)


class RefusalLog:
    """Logs refused events of a worker by kind, as often as ``LogAgain`` says. A kind is a reason and a field.

    All partitions share it. Never logs anything of an event but where it is: it may hold numbers. ``clock``: monotonic
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._log_again: dict[tuple[str, str], LogAgain] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def note(self, reason: str, field: str, count: int, last: str) -> None:
        """Count ``count`` refusals of a kind, and log those that were not logged yet, unless it is too early.

        ``last``: topic/partition/offset of the last of them.
        """
        kind = reason, field
        unsaid = self._unsaid[kind] = self._unsaid.get(kind, 0) + count
        if not self._log_again.setdefault(kind, LogAgain(self._clock)).is_due():
            return
        self._unsaid[kind] = 0
        events = f"{unsaid:,} events" if unsaid > 1 else "an event"
        why = f"{reason}, field {field}" if field else reason
        log.warning("refused %s: %s, last at %s; `ecounters dlq --reason %s` shows them", events, why, last, reason)
