"""``LookUps``: what requests ask Redis, sent in batches. A request waits its turn, and equal commands are sent once.

A flood of requests therefore needs one connection and few round trips. It makes look-ups slower; it does not make them
fail.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.basics.logs import without_request
from streams.basics.tasks import end_tasks
from streams.metrics.catalogue import Platform

log = logging.getLogger(__name__)

BATCH_MAX: Final = 250
"""The most commands of one round trip. To send them and read the replies takes some 4 ms of one core."""
BATCH_LIMIT_S: Final = 2.0
"""A batch fails after this time without replies. The client's own limit, ``store.REDIS_LIMIT_S``, is longer."""
BATCH_CHECKS: Final = 20
"""How many chances to read the replies the event loop must have had before a batch fails. With thousands of requests at
once, one turn of the loop can take longer than a second: then this worker is late, and not Redis."""
WAIT_LIMIT_S: Final = 10.0
"""How long a request waits for its turn and its replies. This is longer than BATCH_LIMIT_S: a Redis that replies is not
reported as away because many requests wait for it."""
RETRY_AFTER_S: Final = 1.0
"""For this time after a failure of Redis nothing is sent: each request would wait for BATCH_LIMIT_S."""

Command = tuple[bytes | str | int, ...]
"""A command of Redis with its arguments, such as ("HGETALL", b"key"). Sending it twice must not change its effect."""


class Unreachable(Exception):
    """Redis failed, did not reply within BATCH_LIMIT_S, or has done either within the last RETRY_AFTER_S."""


class Crowded(Exception):
    """Redis replies, but the request's turn did not come within WAIT_LIMIT_S."""


class LookUps:
    """Sends the commands of requests to Redis: a batch at a time, in the order in which the commands came.

    A command that equals one that waits is not sent again: both requests get the one reply. A command that equals one
    that has been sent already waits for the next batch. So a reply is never older than the request that gets it: what
    was changed before a request came, such as a session that was opened, is seen by the request.

    ``clock``: monotonic seconds. ``metrics``: where batches and failures are counted. One warning is logged when Redis
    fails, and one when it works again.
    """

    def __init__(
        self, redis: Redis, clock: Callable[[], float] = time.monotonic, metrics: Platform | None = None
    ) -> None:
        self._redis = redis
        self._metrics = metrics
        self._clock = clock
        self._waiting: dict[Command, asyncio.Future[Any]] = {}  # each future gets the command's reply
        self._sender: asyncio.Task[None] | None = None  # runs while commands wait
        self._retry_at = 0.0
        self._reachable = True

    async def close(self) -> None:
        """End the look-ups that wait, with Unreachable, and close the connections to Redis."""
        if self._sender is not None:
            await end_tasks(self._sender)
        await self._redis.aclose()

    async def ask(self, *commands: Command) -> list[Any]:
        """Send commands and return their replies, in order.

        Ends within WAIT_LIMIT_S, whatever Redis does. Raises Unreachable or Crowded.
        """
        if self._clock() < self._retry_at:
            raise Unreachable
        replies = [self._enqueue(command) for command in commands]
        _, missing = await asyncio.wait(replies, timeout=WAIT_LIMIT_S)
        if missing:
            raise Crowded
        return [reply.result() for reply in replies]

    def _enqueue(self, command: Command) -> asyncio.Future[Any]:
        """The future that gets the reply to a command. Starts the sender if it does not run."""
        reply = self._waiting.get(command)
        if reply is None:
            reply = self._waiting[command] = asyncio.get_running_loop().create_future()
            if self._sender is None:
                self._sender = asyncio.create_task(self._send_waiting(), context=without_request())
        return reply

    async def _send_waiting(self) -> None:
        """Send one batch after the other while commands wait. What is left at a cancellation gets Unreachable."""
        batch: dict[Command, asyncio.Future[Any]] = {}
        try:
            while self._waiting:
                batch = dict(itertools.islice(self._waiting.items(), BATCH_MAX))
                for command in batch:
                    del self._waiting[command]
                await self._send(batch)
        finally:
            self._sender = None
            self._fail(batch)
            self._fail_waiting()

    async def _send(self, batch: dict[Command, asyncio.Future[Any]]) -> None:
        """Send a batch in one round trip and hand out the replies.

        If Redis fails, all commands of the batch and all that wait get Unreachable. A command that Redis alone refuses,
        because its key is of another type, gets it without the others.
        """
        try:
            replies = await self._execute_within_limit(list(batch))
        except (RedisError, OSError) as why:  # TimeoutError is an OSError
            self._note_failure(why)
            self._fail(batch)
            self._fail_waiting()
            return
        errors = [reply for reply in replies if isinstance(reply, RedisError)]
        if len(errors) == len(replies):
            self._note_failure(errors[0])
        else:
            self._note_reply()
            for error in errors:
                log.warning("Redis refused a look-up: %s", error)
        for future, reply in zip(batch.values(), replies, strict=True):
            if not isinstance(reply, RedisError):
                future.set_result(reply)
        self._fail(batch)

    async def _execute_within_limit(self, commands: Sequence[Command]) -> list[Any]:
        """``_execute``, but raises TimeoutError after BATCH_LIMIT_S and BATCH_CHECKS turns of the event loop."""
        execution = asyncio.create_task(self._execute(commands))
        began = time.perf_counter()
        try:
            for _ in range(BATCH_CHECKS):
                await asyncio.wait([execution], timeout=BATCH_LIMIT_S / BATCH_CHECKS)
                if execution.done():
                    return execution.result()
        finally:
            if self._metrics is not None:
                self._metrics.redis_seconds.observe(time.perf_counter() - began)
            await end_tasks(execution)
        raise TimeoutError(f"no reply in {BATCH_LIMIT_S:g} s")

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to commands that are sent together. A reply may be an error. Raises RedisError and OSError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

    def _fail_waiting(self) -> None:
        """Give Unreachable to all commands that wait."""
        self._fail(self._waiting)
        self._waiting.clear()

    @staticmethod
    def _fail(batch: dict[Command, asyncio.Future[Any]]) -> None:
        """Give Unreachable to those commands of a batch that have no reply yet."""
        for future in batch.values():
            if not future.done():
                future.set_exception(Unreachable())
                future.exception()  # asyncio would log the exception if no request waits for it any more

    def _note_failure(self, error: Exception) -> None:
        """Send nothing for RETRY_AFTER_S. Log the first failure."""
        self._retry_at = self._clock() + RETRY_AFTER_S
        if self._metrics is not None:
            self._metrics.redis_errors.inc()
        if self._reachable:
            log.warning("Redis cannot be used, log-ins stop: %s %s", type(error).__name__, error)
        self._reachable = False

    def _note_reply(self) -> None:
        """Note that Redis replied; log it after an outage."""
        if not self._reachable:
            log.warning("Redis can be used again")
        self._reachable = True
