"""Makes the bodies of large replies in time slices, so that no other request waits for them.

    the account's turn   |<- one large reply of the account at a time ------------------------------>|
    the worker's turn             |<- one large reply of the worker at a time --------------------->|
    state_lock                          |<- settle, read ->|
                            look at cells                    add up, render, hash

Events of the partition wait while ``state_lock`` is held: what is read must be of one moment. For 100,000 cells or live
calls that is some 50 ms of processor time. The rest, about ten times as long, is done on copies. Since the worker makes
one large reply at a time, its partitions have most of the time for events, however often an account asks.

Equal queries that come before the reading has ended share one reply.

A reply may wait while the partition is restored or given up. The old state is emptied then. So the view is looked up
again once the lock is held, and the reply is made of the state of that moment; it is refused if there is none.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from ecounters.changelog.holes import Holes, concern_live
from ecounters.errors import INTERNAL, RequestRefused
from ecounters.partition.user import User
from ecounters.reports.large import LargeReply
from ecounters.reports.payload import etag_of
from streams.basics.slices import Slice, TimeSlices
from streams.engine.view import PartitionView


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a reply, and the state of the user from which it was made.

    ``token``: ``User.token``, None for an unknown user. (A reference to the User would keep all its calls in memory.)
    ``version``: ``User.version`` when the body was made. ``begin``, ``end``: the counted range, [begin, end) in ms.
    """

    token: object
    version: int
    content: bytes
    etag: str
    begin: int
    end: int


class Moment(NamedTuple):
    """What a reply's headers say of the moment that its body is of. Times are ms since the Unix epoch.

    ``lag_ms``: as in ``PartitionView``. ``fresh``: likewise, and False while a hole concerns the live calls. ``holes``:
    the times for which events are missing for ever.
    """

    partition: int
    position: int
    watermark: int
    suspected: int
    lag_ms: int
    fresh: bool
    holes: Holes

    @classmethod
    def of(cls, view: PartitionView, user: User | None) -> Moment:
        """The moment of a view of the user's partition, which must have been made just now."""
        state, suspected = view.state, user.suspected if user is not None else 0
        clock = max(state.watermark, state.clock)
        fresh = view.fresh and not concern_live(state.holes, clock, state.policy.max_call_ms)
        return cls(state.partition, state.position, state.watermark, suspected, view.lag_ms, fresh, state.holes)


class Moving(RequestRefused):
    """The refusal of a query to which no worker replies for now, or this worker not any more."""

    def __init__(self) -> None:
        super().__init__(INTERNAL, "these counters are being moved or restored; try again shortly", http_status=503)


Finished = tuple[Body, Moment]
LookUp = Callable[[User | None], Body | None]
"""Finds a body that is up to date for a settled user."""


@dataclass(slots=True)
class _Turn:
    """The lock of one account, and how many tasks use it or wait for it."""

    lock: asyncio.Lock
    tasks: int = 0


class LargeReplies:
    """Makes large replies, one at a time. ``slices``: the time slices of this worker."""

    def __init__(self, slices: TimeSlices) -> None:
        self._slices = slices
        self._turns: dict[str, _Turn] = {}
        self._worker_turn = asyncio.Lock()
        self._shared: dict[Hashable, asyncio.Task[Finished]] = {}  # those whose reading has not ended

    async def make(
        self, view: PartitionView, user_id: str, key: Hashable, new: Callable[[], LargeReply], look_up: LookUp
    ) -> Finished:
        """The body of a reply, and the moment that it is of.

        ``key``: of the query, account included. ``new``: makes the LargeReply, if there is no equal one to share.
        ``look_up``: is asked once more when the account is settled. Raises RequestRefused as ``LargeReply.read``, and
        503 if this worker gives the partition up before the account is read.
        """
        task = self._shared.get(key)
        if task is None:
            task = asyncio.create_task(self._make(view, user_id, key, new(), look_up), name="large reply")
            task.add_done_callback(_retrieve)
            self._shared[key] = task
        return await asyncio.shield(task)  # the others that share it need it if this request is cancelled

    async def _make(
        self, view: PartitionView, user_id: str, key: Hashable, large: LargeReply, look_up: LookUp
    ) -> Finished:
        try:
            async with self._turn_of(user_id), self._worker_turn:
                await self._take(large.look_at(again(view).state.account(user_id)))
                async with _locked(view) as view:
                    user = view.state.account(user_id)
                    moment = Moment.of(view, user)
                    if user is not None:
                        await self._take(user.settling())
                    body = look_up(user)
                    if body is not None:
                        return body, moment
                    token, version = (user.token, user.version) if user is not None else (None, 0)
                    await self._take(large.read(user))
                    del self._shared[key]  # who asks from now on gets a later moment
                content, etag = await self._content_of(large)
                return Body(token, version, content, etag, large.begin, large.end), moment
        finally:
            if self._shared.get(key) is asyncio.current_task():
                del self._shared[key]

    async def _take(self, steps: Iterator[None]) -> None:
        """Take all steps, in time slices."""
        async with Slice(self._slices) as time_slice:
            for _ in steps:
                await time_slice.yield_if_used_up()

    async def _content_of(self, large: LargeReply) -> tuple[bytes, str]:
        """(the body, its ETag), made and hashed part by part."""
        parts, digest = [], hashlib.sha1(usedforsecurity=False)
        async with Slice(self._slices) as time_slice:
            for part in large.parts():
                if part:
                    parts.append(part)
                    digest.update(part)
                await time_slice.yield_if_used_up()
        content = b"".join(parts)
        return content, etag_of(len(content), digest.digest())

    @asynccontextmanager
    async def _turn_of(self, user_id: str) -> AsyncIterator[None]:
        """Wait until no other large reply of the account is being made."""
        turn = self._turns.setdefault(user_id, _Turn(asyncio.Lock()))
        turn.tasks += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.tasks -= 1
            if not turn.tasks:
                del self._turns[user_id]


@asynccontextmanager
async def _locked(view: PartitionView) -> AsyncIterator[PartitionView]:
    """Hold the ``state_lock`` of the user's partition. Yields the view of then. Raises RequestRefused as ``again``."""
    while True:
        view = again(view)
        async with view.state_lock:
            if again(view).state is view.state:
                yield again(view)
                return


def again(view: PartitionView) -> PartitionView:
    """The view of the user's partition as it is now. Raises RequestRefused (503) if this worker has no state of it."""
    now = view.again()
    if now is None:
        raise Moving
    return now


def _retrieve(task: asyncio.Task[Finished]) -> None:
    """Mark the task's exception as seen: nobody may wait for the task any more."""
    if not task.cancelled():
        task.exception()
