"""PartitionState: the counters, calls and accounts of one partition of the events topic.

    records, in the log's order --> apply           joins each event to its call's record, see calls/join.py
    time                        --> advance         Timeouts suspects, reaps and drops calls, forgets accounts
    replies                     <-- users           User.settle counts the calls that have changed
    changelog entries           <-- take_changes    all that Changes has noted since the last flush

The state depends on its inputs alone: the log's records, and the times and zones that are passed to it. A record below
``position`` is skipped. An event that comes again at a later offset changes no counter, because the join is idempotent.
All entries of ``take_changes`` together give the saved fields again, see ``restoring``.

An event changes its call's record and perhaps the call's timer. The call is counted later: by the next reply or flush.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from ecounters.calls.join import joins
from ecounters.calls.record import CHANGED, TOUCHED, Call
from ecounters.changelog.binding import Binding
from ecounters.changelog.entries import FORMAT, Entry
from ecounters.changelog.holes import Holes
from ecounters.changelog.saved import Position
from ecounters.errors import BadEvent
from ecounters.events.parse import parse
from ecounters.events.partitioner import partition_of
from ecounters.events.types import (
    TYPES,
    AccountErased,
    AnyEvent,
    BalanceUpdated,
    Started,
    SwitchRestarted,
    SwitchSnapshot,
)
from ecounters.large_dict import LargeDict
from ecounters.partition.changes import Changes
from ecounters.partition.policy import Policy
from ecounters.partition.records import Misrouted, Record, Tally, Uncounted
from ecounters.partition.starts import Starts
from ecounters.partition.switches import SwitchEvents
from ecounters.partition.timeouts import Timeouts
from ecounters.partition.user import User
from ecounters.windows.calendar import DAY_MS

LONG_BYTES: Final = 4096
"""After a record that is refused and has more bytes than these, ``applying`` yields: a long value is read twice."""

IN_STEPS: Final = "applying, advancing, rolling_up or take_changes has not been taken to its end"


class PartitionState:
    """The state of one partition. Use it in one thread; no method awaits.

    =================  =====================================================================  ================  =====
    field              meaning                                                                written by        saved
    =================  =====================================================================  ================  =====
    partition          its number; and ``partitions``: how many the events topic has          --                no
    policy             the time limits                                                        --                no
    position           the next offset to apply: all records below it are in the state        apply, restoring  yes
    watermark          largest ``ts`` of the events accepted, ms                              apply, restoring  yes
    arrival            when the broker appended the record accepted last, or the watermark    apply, restoring  yes
    binding            the topic that this is the state of; None: no worker has bound it yet   restoring, worker yes
    holes              times whose events Kafka has deleted before they were counted          restoring, worker yes
    clock              the watermark, at the log's end plus the wall time since ``arrival``   advance           no
    tally              counts for metrics                                                     apply, Timeouts   no
    users              ``userId`` -> account, until nothing of it is left; also by Timeouts   apply, restoring  yes
    timeouts, changes  the calls' timers, and what the next flush must write: of this package  themselves        no
    =================  =====================================================================  ================  =====
    """

    def __init__(self, partition: int, partitions: int, policy: Policy) -> None:
        self.partition = partition
        self.partitions = partitions
        self.policy = policy
        self.position = 0
        self.watermark = 0
        self.arrival = 0
        self.binding: Binding | None = None
        self.holes: Holes = ()
        self.tally = Tally()
        self.users: LargeDict[str, User] = LargeDict()
        self.changes = Changes()
        self._rolls_up = False
        self.timeouts = Timeouts(policy, self.users, self.changes, self.tally)
        self._linger_ms, self._max_call_ms = policy.linger_ms, policy.max_call_ms
        self._switch_events = SwitchEvents(policy, self.timeouts, self.changes)
        of_calls = joins(Starts(policy, self.changes, self.timeouts), policy.dtmf_digits)
        self._joins = {row.cls: of_calls.get(row.cls) for row in TYPES.values()}  # None: it is not of a call
        self._applying = False

    @property
    def clock(self) -> int:
        """The time of the last ``advance`` by which calls are suspected and reaped, in ms."""
        return self.timeouts.clock

    @property
    def _in_steps(self) -> bool:
        """Whether ``applying``, ``advancing``, ``rolling_up`` or ``take_changes`` has begun and is not at its end."""
        return self._applying or self._rolls_up or self.changes.in_steps or self.timeouts.in_steps

    # ------------------------------------------------------------------------------------------ events

    def apply(self, records: Sequence[Record], wall_ms: int) -> list[Uncounted]:
        """Apply records at once, in all steps of ``applying``; return those that this state does not count."""
        uncounted: list[Uncounted] = []
        for _ in self.applying(records, wall_ms, uncounted):
            pass
        return uncounted

    def applying(self, records: Sequence[Record], wall_ms: int, uncounted: list[Uncounted]) -> Generator[None]:
        """Apply records in the order of the log, without those below ``position``; set ``position`` after the last.

        Yields after each record that can take long, and amid one that ends or names many calls; the caller may pause
        there and make replies. ``wall_ms``: the wall clock; an event that is further ahead of it, or of the record's
        timestamp, than the policy allows is refused. Adds the records that this state does not count to ``uncounted``.
        They are lost unless they are published elsewhere before the next flush is acknowledged. Run the generator to
        its end, or discard the state. Fails an assertion between two steps of ``applying``, ``advancing``,
        ``rolling_up`` or ``take_changes``.
        """
        assert not self._in_steps, IN_STEPS
        if records and records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        if not records:
            return
        self._applying = True
        refused_before = len(uncounted)
        rest = iter(records)
        while (long_step := self._apply(rest, wall_ms, uncounted)) is not None:
            yield
            yield from long_step
        self._applying = False
        self.position = records[-1].offset + 1
        self.tally.accepted += len(records) - len(uncounted) + refused_before

    def _apply(self, records: Iterator[Record], wall_ms: int, uncounted: list[Uncounted]) -> Iterator[None] | None:
        """Apply records up to the first that can take long, and return its steps; None after the last record.

        Adds those that this state does not count to ``uncounted``. What nearly every event needs stands in this one
        loop, because a function call more would cost time per event.
        """
        users = cast("dict[str | None, User]", self.users.first)  # None: the user_id of some switch events
        max_call_ms, arrival, watermark = self._max_call_ms, self.arrival, self.watermark
        ahead, latest = self.policy.clock_ahead_ms, wall_ms + self.policy.clock_ahead_ms
        joins, timeouts, changes = self._joins, self.timeouts, self.changes
        long_step: Iterator[None] | None = None
        for record in records:
            try:
                # Each attribute of an event is read once, into a variable with a type: mypyc knows no more of it.
                event: Any = parse(record.value)
                user_id: str | None = event.user_id
                user = users.get(user_id)
                if user is None and user_id is not None:
                    user = self._other_user(user_id)
                ts: int = event.ts
                timestamp: int = record.timestamp
                if ts > latest or (ts > timestamp and timestamp and ts > timestamp + ahead):
                    raise BadEvent("clock_ahead", "ts")
                join = joins[type(event)]
                if join is None or user is None:
                    long_step = self._apply_to_account_or_switch(event, user)
                    watermark = self.watermark
                else:
                    call = user.calls.first.get(event.call_id)
                    if call is None or call.timer_slot <= 0 or call.last_ts + max_call_ms <= watermark:
                        call = self._record_for(event, user, call)
                    join.join(call, event, ts, watermark)
                    if ts > call.last_ts:
                        call.last_ts = ts
                    if ts > watermark:  # also where ``last_ts`` is later: an import sets the watermark back
                        self.watermark = watermark = ts
                    if join.changes_limits or call.silence or not call.timer_slot or call.system_end is not None:
                        timeouts.place(call)
                    if call.flags < CHANGED:  # TOUCHED or DIRTY is missing
                        changes.touch(call)
                arrival = timestamp or watermark
                if long_step is not None:
                    break
            except BadEvent as bad:
                uncounted.append(Uncounted(record, bad.reason, bad.field, bad.user_id))
                if record.value is not None and len(record.value) > LONG_BYTES:
                    long_step = iter(())  # to read what is wrong with a long value takes long
                    break
        self.arrival = arrival
        return long_step

    def account(self, user_id: str) -> User | None:
        """The account for a reply, without balances that are due to be forgotten; None for an unknown account."""
        user = self.users.get(user_id)
        if user is not None:
            self.timeouts.forget_balances(user, self.watermark)
        return user

    def skip_to(self, offset: int) -> None:
        """Raise ``position`` to ``offset``, if it is smaller.

        Call this if the offsets in between have no event: transaction markers, records that Kafka deleted.
        """
        self.position = max(self.position, offset)

    def _other_user(self, user_id: str) -> User:
        """The account of an event that is not in ``users.first``; a new one is in ``users`` once the event is accepted.

        Raises Misrouted if the account belongs to another partition.
        """
        user = self.users.get(user_id)
        if user is not None:
            return user
        if partition_of(user_id, self.partitions) != self.partition:
            raise Misrouted(user_id)
        return User(user_id)

    def _record_for(self, event: Any, user: User, call: Call | None) -> Call:
        """The record to join the event to, if the call is new, in no plain silence wheel, or silent for max_call.

        ``call``: its record in ``user.calls.first``, if any. Drops a record that is due by the watermark: so the result
        does not depend on when ``advance`` runs. Makes a record, and adds the account to ``users``, if there is none;
        raises BadEvent "late" instead if the event is too far behind the watermark, and "call_id_reused" if it is of
        another call of this id. Such a one is known by its call.started, which ``Starts`` refused: ``Call.reused_at``.
        """
        watermark = self.watermark
        if call is None and user.calls.parts:
            call = user.calls.get(event.call_id)
        if (
            call is not None
            and (call.timer_slot < 0 or call.last_ts + self._max_call_ms <= watermark)
            and self.timeouts.drop_time(call) <= watermark
        ):
            self.timeouts.drop(call)
            call = None
        if call is None:
            if event.ts <= watermark - self._linger_ms:
                raise BadEvent("late", "ts")
            call = user.calls[event.call_id] = Call(event.call_id, user)
            if user.id not in self.users.first:
                self.users.setdefault(user.id, user)
        elif 0 < call.reused_at <= event.ts and type(event) is not Started:  # ``Starts`` looks at a call.started
            raise BadEvent("call_id_reused", "callId")
        elif call.cell is None and not call.flags & TOUCHED:
            user.rebuild_contribution(call)  # of a restored call that has ended: ``restore_call`` did not compute it
        return call

    def _apply_to_account_or_switch(self, event: AnyEvent, user: User | None) -> Iterator[None] | None:
        """Apply an event that belongs to no call, and move the watermark on to its ``ts``.

        Returns the steps of an event of a switch, which the caller must take; the events of accounts need none.
        """
        before = self.watermark
        if user is not None:
            self.timeouts.forget_balances(user, self.watermark)
        self.watermark = max(before, event.ts)
        if isinstance(event, SwitchRestarted | SwitchSnapshot):
            return self._switch_events.applying(event, user, before)
        assert user is not None  # the type requires a userId
        if isinstance(event, BalanceUpdated):
            self.users.setdefault(user.id, user).update_balance(event)
            self.changes.add_user(user)
        elif isinstance(event, AccountErased) and user.id in self.users:
            del self.users[user.id]
            self.changes.add_erased(user)
            self.timeouts.add_erased(user)
        return None

    # -------------------------------------------------------------------------------------------- time

    def advance(self, wall_ms: int, *, at_end: bool) -> None:
        """Let time pass to ``wall_ms`` at once: all steps of ``advancing``."""
        for _ in self.advancing(wall_ms, at_end=at_end):
            pass

    def advancing(self, wall_ms: int, *, at_end: bool) -> Generator[None]:
        """Let time pass to ``wall_ms`` in steps: suspect, reap, drop and forget what is due.

        Yields after each call and account: after a long silence all calls can be due at once, so the caller may pause
        at a yield. ``at_end``: the log has been read to its end, so the wall time since the last accepted record
        arrived counts too. Do not apply records between two steps: an assertion of ``apply`` fails. To close the
        generator after its first step does the rest of the work at once.
        """
        clock = self.watermark
        if at_end and self.arrival:
            clock += max(0, wall_ms - self.arrival)
        return self.timeouts.advance(self.watermark, clock)

    def due_for_roll_up(self, user_id: str) -> bool:
        """Whether the account's oldest window began more than a day before the windows that are kept.

        False for an unknown account.
        """
        user = self.users.get(user_id)
        limit = self.watermark - self.policy.keep_windows_ms - DAY_MS
        return user is not None and min(user.spans.windows, default=limit) < limit

    def rolling_up(self, user_id: str, zone: ZoneInfo) -> Generator[None]:
        """Roll up the account's windows into days of ``zone``: those days that lie wholly before the windows to keep.

        Yields after each step of about 0.1 ms. No counter changes, also between two steps. But a reply's range that
        begins or ends inside such a day counts the whole day from then on. Between two steps apply no record, do not
        advance the time and take no changes. The generator may be closed early. Raises KeyError for an unknown account.
        """
        assert not self._in_steps, IN_STEPS
        return self._rolling_up(self.users[user_id], zone)

    def _rolling_up(self, user: User, zone: ZoneInfo) -> Generator[None]:
        self._rolls_up = True
        self.changes.add_user(user)
        try:
            yield from user.settling()
            yield from user.spans.roll_up(zone, self.watermark - self.policy.keep_windows_ms)
        finally:
            user.version += 1
            self._rolls_up = False

    # ------------------------------------------------------------------------------------------ saving

    @property
    def changed(self) -> bool:
        """Whether ``take_changes`` may have more to yield than the position."""
        return bool(self.changes)

    @property
    def dirty_bytes(self) -> int:
        """About how many bytes the entries of ``take_changes`` have."""
        return self.changes.bytes

    def take_changes(self) -> Generator[Entry]:
        """Yield all that has changed since the last time as changelog entries, the position last.

        Run the generator to its end, or discard the state: entries that were not yielded are lost. Until then apply no
        record (an assertion of ``apply`` fails) and do not advance the time; replies may be made.
        """
        position = Position(FORMAT, self.position, self.watermark, self.arrival, self.binding, self.holes)
        return self.changes.take(position)

    def discarding(self) -> Iterator[None]:
        """Empty a state that nobody uses any more, in steps: nothing else frees calls, which refer to their account."""
        yield from self.timeouts.discarding()
        yield from self.changes.discarding()
        while self.users:
            yield from self.users.popitem()[1].discarding()
