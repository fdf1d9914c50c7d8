"""Policy: the time limits by which a partition's state judges events and calls."""

from __future__ import annotations

from dataclasses import dataclass

from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """All limits are in ms. The worker makes one of its settings; all partitions share it.

    ===================  ==================================================================================
    linger_ms            an event of an unknown call is late if its ``ts`` is this far behind the watermark;
                         the record of an ended call is kept for this long after the end
    max_call_ms          a call without events for this long is REAPED; a record without a call.started is
                         dropped
    suspect_after_ms     a live call without events for this long is SUSPECTED
    clock_ahead_ms       an event is refused if its ``ts`` is further ahead of Kafka's or the wall clock
    keep_windows_ms      windows of 15 minutes are kept for this long, then rolled up into days
    keep_days_ms         counters are kept for this long
    after_system_end_ms  a record that silence or a switch's restart or snapshot ended is kept for this long
    repeat_within_ms     a call is a repeat if its number's last call started at most this far away
    ===================  ==================================================================================
    """

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
        """How long a telephone number is remembered, by the watermark.

        A call.started may come ``max_call_ms`` after its call's first event and may still be a repeat.
        """
        return self.repeat_within_ms + self.max_call_ms
