"""User: what a partition keeps of one account."""

from __future__ import annotations

from ecounters.calls.record import REAPED, SUSPECTED, TOUCHED, Call
from ecounters.changelog.entries import Balance
from ecounters.counters.contributions import contributions, live_key
from ecounters.events.types import BalanceUpdated
from ecounters.windows.calendar import window_of
from ecounters.windows.spans import Spans

LiveKey = tuple[str, str, str, str]


class User:
    """One account: its calls, counts, numbers seen and balances. Times in ms since the Unix epoch."""

    __slots__ = (
        "_live_keys", "balance", "call_balance", "calls", "dirty", "id", "live", "new_numbers", "numbers", "spans",
        "suspected", "token", "touched", "version",
    )  # fmt: skip

    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.calls: dict[str, Call] = {}
        self.spans = Spans()
        self.live: dict[LiveKey, int] = {}
        self._live_keys: dict[LiveKey, LiveKey] = {}  # one object for equal keys
        self.suspected = 0
        self.numbers: dict[str, int] = {}
        self.new_numbers: dict[str, int | None] = {}  # since they were saved; None: forgotten
        self.balance: Balance | None = None
        self.call_balance: Balance | None = None
        self.touched: list[Call] = []
        self.dirty = False  # the balances have changed since they were saved
        self.token = object()
        """Tells this one from another of the same id, as after a restore, without keeping it."""
        self.version = 0
        """Goes up with every change of any number that an answer can show."""

    def settle(self) -> None:
        """Count every call that was touched since the last time, by the difference to what it counted before."""
        touched = self.touched
        if not touched:
            return
        self.touched = []
        self.version += 1
        for call in touched:
            if call.flags & TOUCHED:
                call.flags &= ~TOUCHED
                self._recount(call)

    def settle_one(self, call: Call) -> None:
        """The same for one call."""
        if call.flags & TOUCHED:
            call.flags &= ~TOUCHED
            self.version += 1
            self._recount(call)

    def _recount(self, call: Call) -> None:
        ended = call.ended
        if call.start:
            ones, sums = contributions(call, ended)
            dims = (call.type, call.campaign, call.did, call.end_status if ended else None)
            cell, was = self.spans.cell(window_of(call.start), dims), call.cell
            if cell is not was or ones is not call.unit_slots or sums != call.amounts:
                if was is not None:
                    self.spans.add(was, call.unit_slots, call.amounts, -1)
                self.spans.add(cell, ones, sums, 1)
                call.cell, call.unit_slots, call.amounts = cell, ones, sums
        self._recount_live(call, ended)

    def _recount_live(self, call: Call, ended: int) -> None:
        """Move the call among the live calls to where it is now."""
        was, now = call.live_key, live_key(call) if call.start and not ended else None
        if was != now:
            if was is not None:
                self._live(was, -1)
            if now is not None:
                now = self._live_keys.setdefault(now, now)
                self._live(now, 1)
            call.live_key = now

    def _live(self, key: LiveKey, change: int) -> None:
        count = self.live.get(key, 0) + change
        if count:
            self.live[key] = count
        else:
            del self.live[key]
            del self._live_keys[key]

    @property
    def empty(self) -> bool:
        """Whether nothing is known of the account any more."""
        spans = self.spans
        kept = self.calls or self.numbers or spans.windows or spans.days
        return not kept and self.balance is None and self.call_balance is None

    def restore_call(self, call: Call) -> None:
        """Take a call from the changelog as it was counted when it was saved."""
        self.calls[call.id] = call
        if call.end and not call.silence:
            return  # most of these are never heard of again: ``rebuild_contribution`` is for the others
        self.rebuild_contribution(call)
        self._recount_live(call, call.ended)
        if call.silence == SUSPECTED and call.live_key is not None:
            self.suspected += 1

    def rebuild_contribution(self, call: Call) -> None:
        """Find out what a call from the changelog was counted with; no later than when it is about to change."""
        window = window_of(call.start)
        if call.start and self.spans.has(window):  # else it has outlived what it was counted in
            ended = call.ended
            dims = (call.type, call.campaign, call.did, call.end_status if ended else None)
            call.cell = self.spans.cell(window, dims)
            call.unit_slots, call.amounts = contributions(call, ended)

    def set_silence(self, call: Call, silence: int) -> bool:
        """Note how long a call has been silent; whether that changes what it counts as."""
        was = call.silence
        if was == silence:
            return False
        call.silence = silence
        if silence == SUSPECTED:
            self.suspected += 1
        elif was == SUSPECTED:
            self.suspected -= 1
        self.version += 1
        return REAPED in (was, silence)

    def update_balance(self, event: BalanceUpdated) -> None:
        """Join one balance.updated."""
        if self.balance is None or (event.ts, event.id) > self.balance[:2]:
            self.balance = (event.ts, event.id, event.balance)
        if event.call_balance is not None and (
            self.call_balance is None or (event.ts, event.id) > self.call_balance[:2]
        ):
            self.call_balance = (event.ts, event.id, event.call_balance)
        self.version += 1
        self.dirty = True
