"""TimerWheel: calls in buckets of one minute, by the minute in which their next time limit falls.

A partition has three wheels, and a call is in at most one of them. All use the field ``call.timer_slot``: it holds the
number of the call's bucket, which tells the wheel too, or 0 if the call is in no wheel:

    -2 -4 -6 ...       drop wheel            all calls that do not live
    -1 -3 -5 ...       reused silence wheel  live calls of which a start was refused: ``Call.reused_at``
     0                 no wheel
    +1 +3 +5 ...       silence wheel         all other live calls

So the events of nearly all live calls see by the sign that there is nothing to look at but the call itself.

Removing a call only clears ``call.timer_slot``. The bucket keeps a stale entry, which is skipped when the bucket is
taken. A bucket is compacted when more than half of it is stale: otherwise a call with a limit of 4 hours would stay in
memory for 4 hours, though it ended after minutes. A minute has as many buckets as its calls need, each of at most
BUCKET_MAX calls, so that compacting is never a long step.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from mypy_extensions import mypyc_attr

from ecounters.calls.record import Call
from ecounters.native import COMPILED, as_struct
from ecounters.partition.emptying import emptying
from ecounters.windows.calendar import MINUTE_MS

SILENCE: Final = 1
REUSED: Final = -1
DROP: Final = -2
"""The first slots of the wheels. The others follow in steps of two, away from 0."""
BUCKET_MAX: Final = 250
"""The most entries of a bucket. Compacting as many takes about 0.03 ms."""


@mypyc_attr(acyclic=True)
class _Bucket:
    """Some of the calls that were put into one minute, in the order of ``put``; some entries may be stale.

    ``calls`` becomes a tuple once it has BUCKET_MAX: the garbage collector visits each entry of a list every time, and
    those of a tuple only until it has seen that it need not visit them.

    ``slot`` is the ``timer_slot`` of all calls that are still in the bucket: one int object for all calls saves memory.
    ``stale`` counts the removals since the bucket was last compacted. A call that was removed and put back into the
    same bucket stands in ``calls`` twice until the bucket is compacted.
    """

    slot: int
    calls: list[Call] | tuple[Call, ...] = []
    stale: int = 0

    def __init__(self, slot: int) -> None:
        self.slot = slot


if not COMPILED:
    _Bucket = as_struct(_Bucket)


class TimerWheel:
    """The calls of a partition that wait for a time limit of one kind: ``first`` is SILENCE, REUSED or DROP.

    Only the wheels change ``call.timer_slot``. The number of a bucket is used once, so a slot that is stale never
    names another bucket.
    """

    __slots__ = ("_buckets", "_by_minute", "_minutes", "_slot", "_step")

    def __init__(self, first: int) -> None:
        self._step = 2 if first > 0 else -2
        self._slot = first  # of the next bucket
        self._buckets: dict[int, _Bucket] = {}  # slot -> bucket
        self._by_minute: dict[int, list[_Bucket]] = {}  # the last one of a minute takes further calls
        self._minutes: list[int] = []  # a heap of the keys of _by_minute

    def __len__(self) -> int:
        """How many calls are in the wheel, without stale entries."""
        return sum(len(bucket.calls) - bucket.stale for bucket in self._buckets.values())

    def put(self, call: Call, due_ms: int) -> None:
        """Put a call into the minute of ``due_ms`` (ms since the Unix epoch). The call must be in no wheel."""
        minute = due_ms // MINUTE_MS
        buckets = self._by_minute.get(minute)
        if buckets is None:
            buckets = self._by_minute[minute] = [self._new_bucket()]
            heapq.heappush(self._minutes, minute)
        bucket = buckets[-1]
        calls: Any = bucket.calls
        if type(calls) is tuple:
            bucket = self._new_bucket()
            buckets.append(bucket)
            calls = bucket.calls
        calls.append(call)
        call.timer_slot = bucket.slot
        if len(calls) >= BUCKET_MAX:
            bucket.calls = tuple(calls)

    def _new_bucket(self) -> _Bucket:
        bucket = _Bucket(self._slot)
        self._slot += self._step
        self._buckets[bucket.slot] = bucket
        return bucket

    def remove(self, call: Call) -> None:
        """Take a call out. The call must be in this wheel. Compacts its bucket if more than half of it is stale."""
        slot = call.timer_slot
        call.timer_slot = 0
        bucket = self._buckets.get(slot)
        if bucket is not None:
            bucket.stale += 1
            if bucket.stale * 2 > len(bucket.calls):
                calls = [member for member in dict.fromkeys(bucket.calls) if member.timer_slot == slot]
                bucket.calls = tuple(calls) if isinstance(bucket.calls, tuple) else calls
                bucket.stale = 0

    def take(self, before_minute: int) -> Iterator[Call]:
        """Take out all calls of the minutes before ``before_minute``, and yield them, the earliest minute first.

        Minutes are counted from the Unix epoch. A call that is put back meanwhile is not taken again, whatever its
        minute. Run the iterator to its end: a call that was not yielded is in no wheel any more.
        """
        taken: list[_Bucket] = []
        while self._minutes and self._minutes[0] < before_minute:
            taken += self._by_minute.pop(heapq.heappop(self._minutes))
        for bucket in taken:
            del self._buckets[bucket.slot]
        return self._calls_of(taken)

    def discarding(self) -> Iterator[None]:
        """Remove everything from the wheel, and yield after each bucket: the partition's state is discarded."""
        self._minutes.clear()
        yield from emptying(self._by_minute, self._buckets)

    def _calls_of(self, buckets: list[_Bucket]) -> Iterator[Call]:
        for bucket in buckets:
            for call in bucket.calls:
                if call.timer_slot == bucket.slot:
                    call.timer_slot = 0
                    yield call
