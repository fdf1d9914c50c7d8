"""Timeouts: what happens to calls and accounts because time passes.

Two times decide. The watermark is the largest ``ts`` of the partition's accepted events. The clock is the watermark
plus, if the log has been read to its end, the wall time since the last accepted record arrived. A call that has started
and gets no more events, with the default limits:

    last event       + 2 h                + 4 h               + 28 h
    |----- LIVE -----|----- SUSPECTED ----|----- REAPED ------|  record dropped
                   by the clock         by the clock        by the watermark

The record of a call is dropped 15 minutes after its call.ended, 24 h after the end that a switch's restart or snapshot
gave, and, without a call.started, 4 h after the last event: all by the watermark. ``Policy`` has all limits.

The clock judges silence, so that a call ends although no more events come. The watermark decides what is dropped and
forgotten, so that every reading of the log drops and forgets the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from typing import Final

from ecounters.calls.record import LIVE, REAPED, SUSPECTED, TOUCHED, Call, CallOwner
from ecounters.large_dict import LargeDict
from ecounters.partition.changes import Changes
from ecounters.partition.emptying import emptying
from ecounters.partition.live_by_switch import LiveBySwitch
from ecounters.partition.policy import Policy
from ecounters.partition.records import Tally
from ecounters.partition.timer_wheel import DROP, REUSED, SILENCE, TimerWheel
from ecounters.partition.user import User
from ecounters.windows.calendar import HOUR_MS, MINUTE_MS

NUMBERS_STEP: Final = 20
"""How many numbers of an account one step of ``Timeouts.advance`` looks at: it takes as long as a call does."""


class Timeouts:
    """The timers of one partition's calls, and what is done when a time limit passes.

    Each call is in one of three timer wheels: in a silence wheel from its start until it ends or is REAPED, and in the
    drop wheel before and after. The few live calls with ``reused_at`` have a silence wheel of their own. Call ``place``
    for a new record, when a call starts or ends, and for each event of a call that is SUSPECTED or REAPED. A later
    ``last_ts`` of another call needs no ``place``: the call is judged anew when its old minute is taken.

    Changes calls, ``users`` (drops records, forgets accounts) and ``tally``, and notes in ``changes`` what the next
    flush must write.
    """

    def __init__(self, policy: Policy, users: LargeDict[str, User], changes: Changes, tally: Tally) -> None:
        self.clock = 0
        self.in_steps = False
        """True while an ``advance`` has begun and is not at its end: no record may be applied then."""
        # Compiled code reads its own integers many times as fast as those of a Policy.
        self._suspect_after_ms, self._max_call_ms = policy.suspect_after_ms, policy.max_call_ms
        self._linger_ms, self._after_system_end_ms = policy.linger_ms, policy.after_system_end_ms
        self._keep_days_ms, self._remember_number_ms = policy.keep_days_ms, policy.remember_number_ms
        self._users = users
        self._changes = changes
        self._tally = tally
        self.live_by_switch = LiveBySwitch()
        self._silence_timers = TimerWheel(SILENCE)
        self._reused_timers = TimerWheel(REUSED)
        self._drop_timers = TimerWheel(DROP)
        self._silent: LargeDict[Call, None] = LargeDict()  # calls that are SUSPECTED or REAPED
        self._erased: list[User] = []  # accounts whose calls have timers still
        self._purged_at = 0  # the watermark of the last ``_forget_old``

    def begin_at(self, watermark: int) -> None:
        """Set the clock of a restored state to its watermark; ``_forget_old`` is due an hour of the watermark later."""
        self.clock = self._purged_at = watermark

    def restore(self, call: Call) -> None:
        """Put a restored call into a timer wheel, see ``place``. The call must be in its account already."""
        if call.silence:
            self._silent[call] = None
        self.place(call)

    def place(self, call: Call) -> None:
        """Judge the call's silence by the clock, and move the call to the timer wheel and minute of its next limit.

        Lifts a system end that is older than ``last_ts``. If that is lifted, or if the call becomes REAPED or ceases to
        be, its counters change: it is touched.
        """
        self._take_out(call)
        if call.system_end is not None and call.last_ts > call.system_end[0]:
            call.system_end = None
            self._changes.touch(call)
        silence, limit = LIVE, 0
        if call.start and not call.end and call.system_end is None:
            self.live_by_switch.add(call)
            quiet_for = self.clock - call.last_ts
            if quiet_for < self._suspect_after_ms:
                limit = self._suspect_after_ms
            elif quiet_for < self._max_call_ms:
                silence, limit = SUSPECTED, self._max_call_ms
            else:
                silence = REAPED
        elif call.switch:
            self.live_by_switch.discard(call)
        if silence != call.silence:
            self._set_silence(call, silence)
        if limit:
            (self._reused_timers if call.reused_at else self._silence_timers).put(call, call.last_ts + limit)
        else:
            self._drop_timers.put(call, self.drop_time(call))

    def _take_out(self, call: Call) -> None:
        """Take a call out of its timer wheel, if it is in one."""
        slot = call.timer_slot
        if slot > 0:
            self._silence_timers.remove(call)
        elif slot:
            (self._reused_timers if slot & 1 else self._drop_timers).remove(call)

    def drop_time(self, call: Call) -> int:
        """The watermark, in ms, from which on the call's record is dropped.

        An event of its starts that comes again later is late. Else it would begin a call that is counted already.
        """
        if not call.start:
            return call.last_ts + self._max_call_ms
        if call.end:
            last_start = max(call.start, call.last_start)  # compiled, ``max`` of two is fast, and of three slow
            return max(last_start, call.end) + self._linger_ms
        if call.system_end is not None:
            return call.system_end[0] + self._after_system_end_ms
        return call.last_ts + self._max_call_ms + self._after_system_end_ms

    def drop(self, call: Call) -> None:
        """Forget the call's record: in its account and timer wheel and, at the next flush, in the changelog.

        A started call without an end becomes REAPED first. The call is counted a last time if it is touched, and stays
        counted.
        """
        user = call.user
        self._take_out(call)
        if not call.start:
            self._tally.orphaned += 1
        elif not call.end and call.system_end is None and call.silence != REAPED:
            self._set_silence(call, REAPED)  # the watermark passed the limits for REAPED and for the drop in one step
        if call.flags & TOUCHED:
            user.settle_one(call)
            self._changes.add_user(user)
        if call.switch:
            self.live_by_switch.discard(call)
        self._silent.discard(call)
        del user.calls[call.id]
        self._changes.add_dropped(call)

    def add_erased(self, user: User) -> None:
        """Note an erased account: the next ``advance`` takes its calls out of the timer wheels."""
        self._erased.append(user)

    def _forget_erased(self) -> Iterator[None]:
        """Forget the calls of erased accounts: in the account, the timer wheels, by switch, and as silent ones.

        Then the rest of the account. Yields after each step. A call refers to its account, and the garbage collector
        does not look at calls: an account that kept its calls would stay in memory for ever.
        """
        erased, self._erased = self._erased, []
        for user in erased:
            while user.calls:
                _, call = user.calls.popitem()
                self._take_out(call)
                self.live_by_switch.discard(call)
                self._silent.discard(call)
                self._changes.add_dropped(call)
                yield
            yield from user.forgetting()

    def discarding(self) -> Iterator[None]:
        """Remove all timers, and yield after each step: the partition's state is discarded."""
        yield from self._silence_timers.discarding()
        yield from self._reused_timers.discarding()
        yield from self._drop_timers.discarding()
        yield from self.live_by_switch.discarding()
        yield from emptying(self._silent)
        while self._erased:
            yield from self._erased.pop().discarding()

    def advance(self, watermark: int, clock: int) -> Generator[None]:
        """Set the clock and do everything that is due by it and by the watermark; yield after each call and account.

        Do not apply events in between. To close the generator after its first step does the rest of the work at once,
        because calls that were taken out of a timer wheel must be put into one again.
        """
        went_back = clock < self.clock
        self.clock = clock
        self.in_steps = True
        steps = self._due(watermark, went_back)
        try:
            for _ in steps:  # not "yield from": closing would close ``steps`` too
                yield
        finally:
            for _ in steps:
                pass
            self.in_steps = False

    def _due(self, watermark: int, went_back: bool) -> Iterator[None]:
        yield from self._forget_erased()
        if went_back:
            # New events have moved the watermark by less than the wall time that no longer counts. Some calls that were
            # silent by the later clock may not be silent by this one.
            for table in self._silent.tables():
                for call in list(table):
                    self.place(call)
                    yield
        for wheel in (self._silence_timers, self._reused_timers):
            for call in wheel.take(self.clock // MINUTE_MS + 1):
                self.place(call)
                yield
        for call in self._drop_timers.take(watermark // MINUTE_MS):
            if self.drop_time(call) <= watermark:
                self.drop(call)
            else:
                self.place(call)
            yield
        if watermark >= self._purged_at + HOUR_MS:
            self._purged_at = watermark
            yield from self._forget_old(watermark)

    def _set_silence(self, call: Call, silence: int) -> None:
        """Change the call's silence. Touches the call if that changes its counters; counts a reaping in ``tally``."""
        if call.user.set_silence(call, silence):
            self._changes.touch(call)
        if silence == REAPED:
            self._tally.reaped += 1
        if silence == LIVE:
            self._silent.discard(call)
        else:
            self._silent[call] = None

    def forget_balances(self, user: CallOwner, watermark: int) -> None:
        """Forget the account's balances, if they and all that it counts are out of retention.

        A window is out of retention by its end, whether it has been forgotten or not: so the result does not depend on
        when ``advance`` runs.
        """
        if user.forget_balances(watermark - self._keep_days_ms):
            self._changes.add_user(user)

    def _forget_old(self, watermark: int) -> Iterator[None]:
        """Forget numbers and spans that are out of retention, and accounts of which nothing is left.

        Yields after each account, and within an account after each step. Runs once per hour of the watermark.
        """
        numbers_before = watermark - self._remember_number_ms
        spans_before = watermark - self._keep_days_ms
        for user in chain.from_iterable(self._users.values_by_table()):
            yield from _forget_numbers(user, numbers_before)
            yield from user.spans.forget(spans_before)
            self.forget_balances(user, watermark)
            if user.new_numbers or user.spans.gone:
                self._changes.add_user(user)
            if user.empty:
                del self._users[user.id]
                self._changes.add_forgotten(user)
            yield


def _forget_numbers(user: User, before: int) -> Iterator[None]:
    """Forget the account's numbers whose last start is before ``before`` (ms), in steps of at most NUMBERS_STEP."""
    old = []
    for index, (number, last_start) in enumerate(user.numbers.items()):
        if last_start < before:
            old.append(number)
        if index % NUMBERS_STEP == NUMBERS_STEP - 1:
            yield
    while old:
        for number in old[-NUMBERS_STEP:]:
            del user.numbers[number]
            user.new_numbers[number] = None
        del old[-NUMBERS_STEP:]
        yield
