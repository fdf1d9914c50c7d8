"""Policy: the limits by which a partition's state judges events and calls."""

from __future__ import annotations

from dataclasses import dataclass

from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits. The worker makes one Policy from its settings; all its partitions share it.

    ===================  ==================================================================================
    linger_ms            an event of a call without a record is late if its ``ts`` is this far behind the
                         watermark; a record with call.started and call.ended is kept for this long after both
    max_call_ms          a live call without events for this long is REAPED; a record without a
                         call.started and without events for this long is dropped
    suspect_after_ms     a live call without events for this long is SUSPECTED
    clock_ahead_ms       an event is refused if its ``ts`` is further than this ahead of Kafka's timestamp
                         of the record, or of the wall clock
    keep_windows_ms      windows of 15 minutes are kept for at least this long, then rolled up into days
    keep_days_ms         counters are kept for at least this long, then forgotten
    after_system_end_ms  a record is kept for this long after a switch's restart or snapshot ended it, or
                         after ``max_call_ms`` of silence
    repeat_within_ms     a call is a repeat if the last call with its number started at most this far from it
    dtmf_digits          of a DTMF input with more characters, only their number is kept
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
    dtmf_digits: int = 4

    @property
    def remember_number_ms(self) -> int:
        """How far behind the watermark the last start of a telephone number may be before it is forgotten.

        It is ``repeat_within_ms`` plus ``max_call_ms``: a record waits for its call.started for ``max_call_ms`` of
        silence, and that start may still be a repeat.
        """
        return self.repeat_within_ms + self.max_call_ms
