"""Policy: the time limits that decide when a call is late, silent, over and forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """The times of the spec's "Time" and "Windows", in ms."""

    linger_ms: int = 15 * MINUTE_MS
    max_call_ms: int = 4 * HOUR_MS
    suspect_after_ms: int = 2 * HOUR_MS
    clock_ahead_ms: int = 5 * MINUTE_MS
    keep_windows_ms: int = 48 * HOUR_MS
    keep_days_ms: int = 400 * DAY_MS
    after_system_end_ms: int = DAY_MS
    repeat_within_ms: int = DAY_MS

    @property
    def remember_number_ms(self) -> int:
        """How long a number is remembered: a call may wait that long for its start, which may be a repeat."""
        return self.repeat_within_ms + self.max_call_ms
