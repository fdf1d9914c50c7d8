"""User: what a partition keeps of one account, and how the account's calls come to be counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mypy_extensions import mypyc_attr

from ecounters.calls.large import LargeCall
from ecounters.calls.live_key import LiveKey
from ecounters.calls.record import REAPED, SUSPECTED, TOUCHED, Call, CallOwner
from ecounters.changelog.entries import Balance, Entry, cell_entry, number_entry, slot_entry, user_entry
from ecounters.counters.contributions import SLOTS_LEAST, contributions, input_amounts, live_key, slots_to_count
from ecounters.events.types import BalanceUpdated
from ecounters.large_dict import LargeDict
from ecounters.native import COMPILED, as_struct
from ecounters.partition.emptying import emptying
from ecounters.windows.calendar import FOREVER_MS, WINDOW_MS, window_of
from ecounters.windows.cell import Cell
from ecounters.windows.dims import Dims
from ecounters.windows.spans import Spans

SETTLE_STEP: Final = 200
"""About how many slots one step of ``User.settling`` counts, in some 0.1 ms."""


@mypyc_attr(acyclic=True)
class User(CallOwner):
    """One account. Times are ms since the Unix epoch. The garbage collector does not visit it.

    =============  ====================================================================  ====================  =====
    field          meaning                                                               written by            saved
    =============  ====================================================================  ====================  =====
    id             ``userId``                                                            --                    key
    calls          call id -> record, until the record is dropped                        PartitionState,       yes
                                                                                         Timeouts
    touched        calls that have changed since they were counted: those with the flag  Changes, ``settle``   no
                   TOUCHED
    spans          the counters, by time and dimensions                                  ``settle``,           yes
                                                                                         Timeouts, roll-up
    live           live key -> how many live calls                                       ``settle``,           no
                                                                                         ``restore_call``
    suspected      how many calls are SUSPECTED                                          ``set_silence``,      no
                                                                                         ``restore_call``
    numbers        telephone number -> ``ts`` of the last call.started with it           PartitionState,       yes
                                                                                         Timeouts
    new_numbers    the changes of ``numbers`` since the last flush; the value None is    as ``numbers``,       no
                   a number that was forgotten                                           ``take_changes``
    balance,       the balances; None before the first                                   ``update_balance``    yes
    call_balance
    dirty          the balances have changed since the last flush                        ``update_balance``    no
    erased         an account.erased has removed the account; its calls may be in timers      Changes               no
                   and lists still, where they are skipped
    token          an object of this User alone: a later User of the same id, as after   --                    no
                   a restore, has another. A cache can keep it without keeping the User
    version        grows with each change that a reply can show                          this class, roll-up,  no
                                                                                         restore
    =============  ====================================================================  ====================  =====

    A call is not counted when an event changes it, but at the next ``settle``: before a reply, a flush, a roll-up, and
    before the call is dropped. A call that five events have changed in between is counted once. ``restore_call`` writes
    the fields of a restored call.
    """

    id: str
    calls: LargeDict[str, Call] = LargeDict()
    touched: LargeDict[Call, None] = LargeDict()
    spans: Spans = Spans()
    live: LargeDict[LiveKey, int] = LargeDict()
    _live_keys: LargeDict[LiveKey, LiveKey] = LargeDict()  # equal keys are one object
    suspected: int = 0
    numbers: LargeDict[str, int] = LargeDict()
    new_numbers: LargeDict[str, int | None] = LargeDict()
    balance: Balance | None = None
    call_balance: Balance | None = None
    dirty: bool = False
    erased: bool = False
    token: object = object()
    version: int = 0

    def __init__(self, id: str) -> None:
        self.id = id

    def settle(self) -> None:
        """Count all touched calls: replace what each was counted with, in its cell and in ``live``."""
        touched = self.touched
        if touched:
            self.touched = LargeDict()
            self.version += 1
            for call in touched:
                call.flags &= ~TOUCHED
                self._recount(call)

    def settling(self) -> Iterator[None]:
        """``settle`` in steps, with a yield after each.

        If ``settle`` is called between two steps, it counts the calls that are left. Calls touched meanwhile count too.
        """
        while self.touched:
            self.version += 1
            slots = 0
            while self.touched and slots < SETTLE_STEP:
                call, _ = self.touched.popitem()
                slots += slots_to_count(call)
                call.flags &= ~TOUCHED
                self._recount(call)
            yield

    def unsettled_slots(self, most: int) -> int:
        """About how many slots ``settle`` would change; any number above ``most`` if there are more."""
        slots = SLOTS_LEAST * len(self.touched)
        if slots <= most:  # else there are more already, and too many calls to look at each
            slots = sum([slots_to_count(call) for call in self.touched])
        return slots

    def settle_one(self, call: Call) -> None:
        """Count one call if it is touched."""
        if call.flags & TOUCHED:
            call.flags &= ~TOUCHED
            self.version += 1
            self._recount(call)
            touched = self.touched
            if call in touched.first:
                del touched.first[call]
            else:
                del touched[call]

    def _recount(self, call: Call) -> None:
        """Replace the contribution that the call was counted with, if it has changed, and its live key."""
        ended = call.ended
        if call.start:
            units, ring_ms, rings, amounts = contributions(call, ended)
            old_cell = call.cell
            status = call.end_status if ended else None
            if old_cell is not None and _is_of(old_cell, call, status):
                cell = old_cell  # as for most events, and faster than to look it up
                if units != call.units or ring_ms != call.ring_ms or rings != call.rings or amounts != call.amounts:
                    ring_ms_more, rings_more = ring_ms - call.ring_ms, rings - call.rings
                    self.spans.change(cell, call.units, units, call.amounts, amounts, ring_ms_more, rings_more)
            else:
                dims = Dims(call.type, call.campaign, call.did, status)
                cell = self.spans.cell(window_of(call.start), dims)
                if old_cell is not None:
                    self.spans.change(old_cell, call.units, 0, call.amounts, (), -call.ring_ms, -call.rings)
                self.spans.change(cell, 0, units, (), amounts, ring_ms, rings)
            call.cell, call.units, call.ring_ms, call.rings, call.amounts = cell, units, ring_ms, rings, amounts
            if call.large is not None:
                self._recount_inputs(call.large, old_cell, cell)
        elif call.large is not None:
            call.large.uncounted = []  # all inputs are counted once the call starts
        self._recount_live(call, ended)

    def _recount_inputs(self, large: LargeCall, old_cell: Cell | None, cell: Cell) -> None:
        """Add the inputs of a large call to ``cell``: the uncounted ones, or all of them if the call was in another.

        The old cell has ``large.dtmfs`` without ``large.uncounted``.
        """
        uncounted, large.uncounted = large.uncounted, []
        if old_cell is not cell:
            everything = tuple(input_amounts(large.dtmfs.values()))
            if old_cell is not None:
                self.spans.change(old_cell, 0, 0, everything, ())
            self.spans.change(cell, 0, 0, (), everything)
        if old_cell is not None:
            for dtmf, sign in uncounted:
                one = tuple(input_amounts((dtmf,)))
                self.spans.change(old_cell, 0, 0, one if sign < 0 else (), one if sign > 0 else ())

    def _recount_live(self, call: Call, ended: int) -> None:
        """Count the call in ``live`` under its present live key, or under none if it has not started or has ended."""
        old_key = call.live_key
        key = live_key(call, old_key) if call.start and not ended else None
        if key is not old_key:
            if old_key is not None:
                self._add_live(old_key, -1)
            if key is not None:
                key = self._live_keys.first.get(key) or self._live_keys.setdefault(key, key)
                self._add_live(key, 1)
            call.live_key = key

    def _add_live(self, key: LiveKey, change: int) -> None:
        live: dict[LiveKey, int] | LargeDict[LiveKey, int] = self.live.first
        if key not in live:
            live = self.live
        count = live.get(key, 0) + change
        if count:
            live[key] = count
        else:
            del live[key]
            del self._live_keys[key]

    @property
    def empty(self) -> bool:
        """Whether the account has no calls, numbers, counters and balances any more, so that it can be forgotten."""
        spans = self.spans
        kept = self.calls or self.numbers or spans.windows or spans.days
        return not kept and self.balance is None and self.call_balance is None

    def take_changes(self) -> Iterator[Entry]:
        """Settle, then yield the entries of the cells, balances and numbers that have changed since the last time.

        ``Changes.take`` yields those of the calls.
        """
        self.settle()
        for cell, slot, exists in self.spans.take_changes():
            if slot:
                yield slot_entry(self.id, cell, slot, gone=not exists)
            else:
                yield cell_entry(self.id, cell, gone=not exists)
        if self.dirty:
            self.dirty = False
            yield user_entry(self.id, self.balance, self.call_balance)
        numbers = self.new_numbers
        if not numbers:
            return
        self.new_numbers = LargeDict()
        for table in numbers.tables():
            while table:  # so that the memory of each is freed at once, and not of all in one step
                number, last_start = table.popitem()
                yield number_entry(self.id, number, last_start)

    def forgetting(self) -> Iterator[None]:
        """Forget what an erased account has counted, and yield after each step: to free all at once is a long step.

        Its calls must have been forgotten. ``tombstones`` may come before or after.
        """
        yield from emptying(self.touched, self.spans.dirty)
        yield from self.spans.forget(FOREVER_MS)
        yield from emptying(self.live, self._live_keys)

    def discarding(self) -> Iterator[None]:
        """Remove everything from the account, and yield after each step: its partition's state is discarded."""
        yield from emptying(self.calls, self.numbers, self.new_numbers)
        yield from self.forgetting()
        yield from emptying(self.spans.gone)

    def restore_call(self, call: Call) -> None:
        """Count a call of the changelog as live or suspected, if it is; ``calls`` must have it.

        All cells must have been restored: they hold the call's contribution already. A call with a call.ended seldom
        changes again. Its contribution is not computed until an event of it comes.
        """
        if call.end and not call.silence:
            return
        self.rebuild_contribution(call)
        self.count_live(call)

    def count_live(self, call: Call) -> None:
        """Count a call of the changelog as live or suspected, if it is; it must not be counted yet."""
        self._recount_live(call, call.ended)
        if call.silence == SUSPECTED and call.live_key is not None:
            self.suspected += 1

    def uncount_live(self, call: Call) -> None:
        """Take back what ``count_live`` has counted."""
        if call.live_key is not None:
            self._add_live(call.live_key, -1)
            call.live_key = None
            if call.silence == SUSPECTED:
                self.suspected -= 1

    def rebuild_contribution(self, call: Call) -> None:
        """Compute what a restored call was counted with, so that the next ``settle`` can subtract that.

        Call this before the call changes. A call that has not started, or whose window is out of retention and has no
        cell any more, gets no contribution.
        """
        window = window_of(call.start)
        if call.start and self.spans.has(window):
            ended = call.ended
            dims = Dims(call.type, call.campaign, call.did, call.end_status if ended else None)
            call.cell = self.spans.cell(window, dims)
            call.units, call.ring_ms, call.rings, call.amounts = contributions(call, ended)

    def set_silence(self, call: Call, silence: int) -> bool:
        """Set ``call.silence``; return whether the call became REAPED or ceased to be, which changes its counters."""
        old = call.silence
        if old == silence:
            return False
        call.silence = silence
        if silence == SUSPECTED:
            self.suspected += 1
        elif old == SUSPECTED:
            self.suspected -= 1
        self.version += 1
        return REAPED in (old, silence)

    def forget_balances(self, before: int) -> bool:
        """Forget the balances if both were told before ``before`` (ms) and no span that ends later counts a call.

        Returns whether balances were forgotten.
        """
        newest, call_balance = self.balance, self.call_balance
        if newest is None or newest[0] >= before or (call_balance is not None and call_balance[0] >= before):
            return False
        if self._counts_after(before):
            return False
        self.balance = self.call_balance = None
        self.version += 1
        self.dirty = True
        return True

    def _counts_after(self, before: int) -> bool:
        """Whether a span that ends after ``before`` (ms) counts a call, or will; then settles a call that tells so.
        Thus the next time its span tells, and not all touched calls are looked at again."""
        for span in self.spans.all_spans():
            if span.end > before and any(not cell.empty for cell in span.cells.values()):
                return True
        for call in self.touched:
            if call.start and window_of(call.start) + WINDOW_MS > before:
                self.settle_one(call)
                return True
        return False

    def update_balance(self, event: BalanceUpdated) -> None:
        """Take over each balance of the event that is the newest one: the event with the largest (ts, id) counts.

        An event without a callBalance leaves that as it is.
        """
        if self.balance is None or (event.ts, event.id) > self.balance[:2]:
            self.balance = (event.ts, event.id, event.balance)
        if event.call_balance is not None and (
            self.call_balance is None or (event.ts, event.id) > self.call_balance[:2]
        ):
            self.call_balance = (event.ts, event.id, event.call_balance)
        self.version += 1
        self.dirty = True


if not COMPILED:
    User = as_struct(User)


def _is_of(cell: Cell, call: Call, status: int | None) -> bool:
    """Whether the cell, in which the call is counted, still counts calls of its start, dimensions and status."""
    dims = cell.dims
    return (
        dims.status == status
        and dims.did == call.did
        and dims.campaign == call.campaign
        and dims.type == call.type
        and cell.begin <= call.start < cell.end
        and cell.rolled_into is None
        and not cell.expired
    )
