"""Starts: what is decided once when a call.started comes: whether it may start its call, and who calls."""

from __future__ import annotations

from ecounters.calls.items import STARTS_MAX
from ecounters.calls.join import Join, join_start
from ecounters.calls.record import FRESH, NEITHER, REPEAT, Call
from ecounters.errors import BadEvent
from ecounters.events.types import Started
from ecounters.partition.changes import Changes
from ecounters.partition.policy import Policy
from ecounters.partition.timeouts import Timeouts


class Starts(Join):
    """Looks at each call.started. Both decisions depend on the log's order.

    ``watermark`` is the one before the event: by it, the last start of a number may be due to be forgotten.
    """

    changes_limits = True

    def __init__(self, policy: Policy, changes: Changes, timeouts: Timeouts) -> None:
        self._max_call_ms, self._repeat_within_ms = policy.max_call_ms, policy.repeat_within_ms
        self._remember_number_ms = policy.remember_number_ms
        self._changes = changes
        self._timeouts = timeouts

    def join(self, call: Call, event: Started, ts: int, watermark: int) -> None:
        """Join a call.started; the first of a call classifies the caller. Raises BadEvent as ``_accept``.

        Balances are kept as long as windows with calls are. So those that are due are forgotten before a call starts,
        and a call that a further start may move to another window is counted there at once.
        """
        if not call.start:
            self._timeouts.forget_balances(call.user, watermark)
            join_start(call, event, ts)
        else:
            self._accept(call, event, watermark)
            self._timeouts.live_by_switch.discard(call)  # ``place`` adds the call again, perhaps under another switch
            join_start(call, event, ts)
            self._changes.touch(call)
            call.user.settle_one(call)
        if not call.caller_class:
            self._classify_caller(call, watermark)

    def _accept(self, call: Call, event: Started, watermark: int) -> None:
        """Remember id and time of a further call.started of a call, or refuse the event. Call this before it is joined.

        One whose id was accepted before is a duplicate, also after the call's end. Raises BadEvent: "call_id_reused" if
        it came after the call's end, and so is the start of another call, or not before a start that was refused so;
        "call_too_large" if the call has STARTS_MAX.
        """
        ids = call.start_ids or (call.start_id,)
        if event.id not in ids:
            if 0 < call.reused_at <= event.ts:
                raise BadEvent("call_id_reused", "callId")
            if 0 < self._end_by(call, max(watermark, event.ts)) < event.ts:
                call.reused_at = event.ts
                self._timeouts.place(call)  # the wheel shows that the call's further events must be looked at
                self._changes.touch(call)
                raise BadEvent("call_id_reused", "callId")
            if len(ids) >= STARTS_MAX:
                raise BadEvent("call_too_large", "callId")
            call.start_ids = (*ids, event.id)
        if event.ts != call.start:
            call.last_start = max(call.last_start, call.start, event.ts)

    def _end_by(self, call: Call, now: int) -> int:
        """When a call ended, in ms; 0 if it lives. It is judged by ``now`` whether the call is silent for too long.

        Not by the clock, so that every reading of the log refuses the same events.
        """
        if call.end or call.system_end is not None:
            return call.ended
        return call.last_ts if call.last_ts + self._max_call_ms <= now else 0

    def _classify_caller(self, call: Call, watermark: int) -> None:
        """Set ``call.caller_class`` for good, and remember the start for the call's number if it is the latest.

        Call this when the call's first call.started in the log has been joined.
        """
        user, number, ts = call.user, call.number, call.start
        if not number:
            call.caller_class = NEITHER
            return
        last_start = user.numbers.get(number)
        if last_start is not None and watermark > last_start + self._remember_number_ms:
            last_start = None  # due to be forgotten: Timeouts does that once an hour
        is_repeat = last_start is not None and abs(ts - last_start) <= self._repeat_within_ms
        call.caller_class = REPEAT if is_repeat else FRESH
        if last_start is None or ts > last_start:
            user.numbers[number] = user.new_numbers[number] = ts
            self._changes.add_user(user)
