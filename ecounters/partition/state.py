"""PartitionState: everything a worker knows of one partition, as a value that events are applied to.

Its inputs are the partition's log records, in order, and the clock. Applying a record again changes nothing (what is
below ``position`` is skipped, and events are idempotent anyway), and all cuts restored give the same state.

Work per event is the join alone. Counting waits until somebody looks (``User.settle``): a call that changed
five times between two looks is counted once, by the difference to what it had been counted with.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from ecounters.calls.join import JOIN
from ecounters.calls.record import (
    CHANGED,
    DIRTY,
    FRESH,
    LIVE,
    NEITHER,
    REAPED,
    REPEAT,
    SAVED,
    STATUS_RESTARTED,
    STATUS_SNAPSHOT,
    SUSPECTED,
    TOUCHED,
    Call,
)
from ecounters.changelog import entries as saving
from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from ecounters.events.partitioner import partition_of
from ecounters.events.types import TYPES, AnyEvent, BalanceUpdated, Ended, Started, SwitchSnapshot
from ecounters.partition.policy import Policy
from ecounters.partition.records import Misrouted, Record, Tally, Uncounted
from ecounters.partition.timer_wheel import DROP, SILENCE, TimerWheel
from ecounters.partition.user import User
from ecounters.windows.calendar import DAY_MS, HOUR_MS, MINUTE_MS


class PartitionState:
    """The state of one partition of so many. Not for several threads; nothing in it awaits."""

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        self.partition = partition
        self.partitions = partitions
        self.policy = policy
        self._linger_ms, self._max_call_ms = policy.linger_ms, policy.max_call_ms
        self.position = 0
        """The next source offset to apply: every one below it is in the state."""
        self.watermark = 0
        self.arrival = 0
        """Kafka's timestamp of the record accepted last."""
        self.clock = 0
        self.tally = Tally()
        self.users: dict[str, User] = {}
        self._silence_timers = TimerWheel(SILENCE)  # live calls, by when their silence is to be looked at
        self._drop_timers = TimerWheel(DROP)  # all others, by when they are to be forgotten
        self._silent: dict[Call, None] = {}
        self._dirty: list[Call] = []
        self._dropped: list[Call] = []
        self._changed: dict[User, None] = {}  # whose cells, numbers or balances may have changed
        self._purged_at = 0

    # ------------------------------------------------------------------------------------------ events

    def apply(self, records: Sequence[Record], wall_ms: int) -> list[Uncounted]:
        """Apply records that follow one another in the log; those that were applied before are skipped.

        Returns what is not to be counted here; it must be published elsewhere before the next cut is acknowledged.
        """
        refused: list[Uncounted] = []
        if records and records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        if not records:
            return refused
        users: Any = self.users  # asked for None too, which it has not
        max_call_ms, arrival, watermark = self._max_call_ms, self.arrival, self.watermark
        ahead = self.policy.clock_ahead_ms
        latest = wall_ms + ahead
        joins = _JOINS
        for record in records:
            try:
                event: Any = parse(record.value)
                user = users.get(event.user_id)
                if user is None and event.user_id is not None:
                    user = self._new_user(event.user_id)
                ts, timestamp = event.ts, record.timestamp
                if ts > latest or (ts > timestamp and ts > timestamp + ahead):
                    raise BadEvent("clock_ahead", "ts")
                join, bounds = joins[type(event)]
                if join is None:
                    self._apply_to_account_or_switch(event, user)
                    watermark = self.watermark
                else:
                    call = user.calls.get(event.call_id)
                    if call is None or call.timer_slot <= 0 or call.last_ts + max_call_ms <= watermark:
                        call = self._record_for(event, user, call)
                    if bounds and not call.caller_class and type(event) is Started:
                        self._classify_caller(user, call, event)
                    if ts > call.last_ts:
                        call.last_ts = ts
                        if ts > watermark:
                            self.watermark = watermark = ts
                    join(call, event)
                    if bounds or call.silence or not call.timer_slot:
                        self._place(call)
                    if call.flags & CHANGED != CHANGED:
                        self._touch(call)
                arrival = timestamp
            except Misrouted as bad:
                refused.append(Uncounted(record, bad.reason, bad.field, bad.user_id))
            except BadEvent as bad:
                refused.append(Uncounted(record, bad.reason, bad.field))
        self.arrival = arrival
        self.position = records[-1].offset + 1
        self.tally.accepted += len(records) - len(refused)
        return refused

    def skip_to(self, offset: int) -> None:
        """Nothing to count stands before that offset."""
        self.position = max(self.position, offset)

    def _new_user(self, user_id: str) -> User:
        """An account that nothing is known of yet; not kept before something of it is accepted."""
        if partition_of(user_id, self.partitions) != self.partition:
            raise Misrouted(user_id)
        return User(user_id)

    def _record_for(self, event: Any, user: User, call: Call | None) -> Call:
        """The record that an event belongs to, where that is not simply a live call: made anew, if it is not late."""
        watermark = self.watermark
        if (
            call is not None
            and (call.timer_slot < 0 or call.last_ts + self._max_call_ms <= watermark)
            and self._drop_time(call) <= watermark
        ):
            self._drop(call)
            call = None
        if call is None:
            if event.ts <= watermark - self._linger_ms:
                raise BadEvent("late", "ts")
            call = user.calls[event.call_id] = Call(event.call_id, user=user)
            self.users.setdefault(user.id, user)
        elif call.cell is None and not call.flags & TOUCHED:
            user.rebuild_contribution(call)  # it was restored, and has rested since
        return call

    def _touch(self, call: Call) -> None:
        flags, user = call.flags, call.user
        if not flags & TOUCHED:
            user.touched.append(call)
        if not flags & DIRTY:
            self._dirty.append(call)
            self._changed[user] = None
        call.flags = flags | CHANGED

    def _classify_caller(self, user: User, call: Call, event: Started) -> None:
        """Repeat or fresh, once and for all, by the watermark as it was before the event."""
        number, ts = event.number, event.ts
        if not number:
            call.caller_class = NEITHER
            return
        last = user.numbers.get(number)
        if last is not None and self.watermark > last + self.policy.remember_number_ms:
            last = None
        repeat = last is not None and abs(ts - last) <= self.policy.repeat_within_ms
        call.caller_class = REPEAT if repeat else FRESH
        if last is None or ts > last:
            user.numbers[number] = user.new_numbers[number] = ts
            self._changed[user] = None

    def _apply_to_account_or_switch(self, event: AnyEvent, user: User | None) -> None:
        self.watermark = max(self.watermark, event.ts)
        if type(event) is BalanceUpdated and user is not None:
            self.users.setdefault(user.id, user).update_balance(event)
            self._changed[user] = None
            return
        spared, status = frozenset[str](), STATUS_RESTARTED
        if type(event) is SwitchSnapshot:
            spared, status = frozenset(event.call_ids), STATUS_SNAPSHOT
        for owner in [user] if user is not None else self.users.values():
            for call in list(owner.calls.values()):
                if call.switch == event.switch_id and call.id not in spared and self._lives(call, event.ts):
                    call.system_end = event.ts, status
                    self._place(call)
                    self._touch(call)

    def _lives(self, call: Call, at: int) -> bool:
        """Whether the call started at or before that time and lives by the watermark (not by the wall clock)."""
        if not call.start or call.start > at or call.end or call.system_end is not None:
            return False
        return call.last_ts + self.policy.max_call_ms > self.watermark

    # -------------------------------------------------------------------------------------------- time

    def advance(self, wall_ms: int, *, at_end: bool) -> None:
        """Let time pass: the watermark, and the wall clock's share while the log has been read to its end."""
        for _ in self.advancing(wall_ms, at_end=at_end):
            pass

    def advancing(self, wall_ms: int, *, at_end: bool) -> Generator[None]:
        """``advance`` in steps, a call each: after a silence, all calls can be due at once.

        Nothing else may happen to the state meanwhile. What is left when the iterator is closed is done then: calls
        that are due are in no wheel any more.
        """
        clock = self.watermark
        if at_end and self.arrival:
            clock += max(0, wall_ms - self.arrival)
        back = clock < self.clock
        self.clock = clock
        steps = self._passing(back)
        try:
            for _ in steps:  # not "yield from", which would close them
                yield
        finally:
            for _ in steps:
                pass

    def _passing(self, back: bool) -> Iterator[None]:
        if back:  # the log went on: its time is what counts, so what seemed silent may not be
            for call in list(self._silent):
                self._place(call)
                yield
        for call in self._silence_timers.take(self.clock // MINUTE_MS + 1):
            self._place(call)
            yield
        for call in self._drop_timers.take(self.watermark // MINUTE_MS):
            if self._drop_time(call) <= self.watermark:
                self._drop(call)
            else:
                self._place(call)
            yield
        if self.watermark >= self._purged_at + HOUR_MS:
            self._purged_at = self.watermark
            yield from self._forget_old()

    def _place(self, call: Call) -> None:
        """Note how silent the call is and put it where its next time limit will find it."""
        if call.timer_slot:
            (self._silence_timers if call.timer_slot > 0 else self._drop_timers).remove(call)
        policy = self.policy
        silence, limit = LIVE, 0
        if call.start and not call.end and call.system_end is None:
            quiet_for = self.clock - call.last_ts
            if quiet_for < policy.suspect_after_ms:
                limit = policy.suspect_after_ms
            elif quiet_for < policy.max_call_ms:
                silence, limit = SUSPECTED, policy.max_call_ms
            else:
                silence = REAPED
        if silence != call.silence:
            self._silence(call, silence)
        if limit:
            self._silence_timers.put(call, call.last_ts + limit)
        else:
            self._drop_timers.put(call, self._drop_time(call))

    def _silence(self, call: Call, silence: int) -> None:
        if call.user.set_silence(call, silence):
            self._touch(call)
        if silence == REAPED:
            self.tally.reaped += 1
        if silence == LIVE:
            self._silent.pop(call, None)
        else:
            self._silent[call] = None

    def _drop_time(self, call: Call) -> int:
        """The watermark at which the record is dropped."""
        policy = self.policy
        if not call.start:
            return call.last_ts + policy.max_call_ms
        if call.end:
            return max(call.start, call.end) + policy.linger_ms
        if call.system_end is not None:
            return call.system_end[0] + policy.after_system_end_ms
        return call.last_ts + policy.max_call_ms + policy.after_system_end_ms

    def _drop(self, call: Call) -> None:
        """Forget the record; its counters stay."""
        user = call.user
        if call.timer_slot:
            (self._silence_timers if call.timer_slot > 0 else self._drop_timers).remove(call)
        if not call.start:
            self.tally.orphaned += 1
        elif not call.end and call.system_end is None and call.silence != REAPED:
            self._silence(call, REAPED)  # its time passed within one step of the watermark
        if call.flags & TOUCHED:
            user.settle()
            self._changed[user] = None
        self._silent.pop(call, None)
        del user.calls[call.id]
        if call.flags & SAVED:
            self._dropped.append(call)
        call.flags &= ~DIRTY

    def _forget_old(self) -> Iterator[None]:
        """Forget old numbers and spans, a user at a time."""
        numbers_before = self.watermark - self.policy.remember_number_ms
        spans_before = self.watermark - self.policy.keep_days_ms
        for user in list(self.users.values()):
            old = [number for number, last in user.numbers.items() if last < numbers_before]
            for number in old:
                del user.numbers[number]
                user.new_numbers[number] = None
            user.spans.forget(spans_before)
            self._changed[user] = None
            if user.empty:
                del self.users[user.id]
            yield

    def due_for_roll_up(self, user_id: str) -> bool:
        """Whether a user has windows that may be a whole day past their time."""
        user = self.users.get(user_id)
        limit = self.watermark - self.policy.keep_windows_ms - DAY_MS
        return user is not None and min(user.spans.windows, default=limit) < limit

    def roll_up(self, user_id: str, zone: ZoneInfo) -> None:
        """Make days of that zone out of the user's windows that are past their time."""
        user = self.users[user_id]
        user.settle()
        user.spans.roll_up(zone, self.watermark - self.policy.keep_windows_ms)
        user.version += 1
        self._changed[user] = None

    # ------------------------------------------------------------------------------------------ saving

    @property
    def changed(self) -> bool:
        """Whether a cut would hold more than the position."""
        return bool(self._changed or self._dropped)

    @property
    def dirty_bytes(self) -> int:
        """About how large the next cut is."""
        return saving.ENTRY_BYTES * (len(self._dirty) + len(self._dropped))

    def take_changes(self) -> Iterator[saving.Entry]:
        """Everything that changed since the last cut, as absolute entries, the position last.

        To be taken to its end: until then nothing may be applied and no time may pass, but answers may be given.
        """
        dropped, dirty, changed = self._dropped, self._dirty, self._changed
        self._dropped, self._dirty, self._changed = [], [], {}
        position = saving.Position(saving.FORMAT, self.position, self.watermark, self.arrival)
        for call in dropped:
            yield saving.call_entry(call.user.id, call, gone=True)
        for call in dirty:
            if call.flags & DIRTY:  # else it was dropped since
                call.flags = call.flags & ~DIRTY | SAVED
                call.user.settle_one(call)  # here, for all of a user's calls at once can be a long step
                yield saving.call_entry(call.user.id, call)
        for user in changed:
            user.settle()
            for cell, there in user.spans.take_changes():
                yield saving.cell_entry(user.id, cell, gone=not there)
            if user.dirty:
                user.dirty = False
                yield saving.user_entry(user.id, user.balance, user.call_balance)
            numbers, user.new_numbers = user.new_numbers, {}
            for number, last in numbers.items():
                yield saving.number_entry(user.id, number, last)
        yield saving.position_entry(position)

    # ------------------------------------------------------------------------------------------ restoring

    def begin_at(self, position: saving.Position) -> None:
        """Be as far as the entries go that this is restored from: the first thing to restore."""
        self.position, self.watermark, self.arrival = position.position, position.watermark, position.arrival
        self.clock = self._purged_at = self.watermark

    def user(self, user_id: str) -> User:
        """An account, made if it is not there yet."""
        user = self.users.get(user_id)
        if user is None:
            user = self.users[user_id] = User(user_id)
            user.version += 1
        return user

    def restore_call(self, call: Call) -> None:
        """Take in a call of one of the users, as it was saved, once all cells are there."""
        call.user.restore_call(call)
        if call.silence:
            self._silent[call] = None
        call.flags |= SAVED
        self._place(call)


_JOINS = {declared.cls: (JOIN.get(declared.cls), declared.cls in (Started, Ended)) for declared in TYPES.values()}
"""(what it does to a call, None: it is of no call; whether it bounds a call, whose time limits change then)."""
