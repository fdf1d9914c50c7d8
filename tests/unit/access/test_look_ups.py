"""How look-ups wait, are sent together and fail, with a Redis that replies when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NoRedis
from redis.exceptions import ResponseError

from streams.access import look_ups as module
from streams.access.look_ups import BATCH_MAX, RETRY_AFTER_S, Command, Crowded, LookUps, Unreachable

TURNS = 5
"""Turns of the event loop from the arrival of replies until they are read, as with a real client."""


class Store:
    """A Redis that echoes.

    ``replies``: it replies while this is set. ``batches``: what was sent together. ``sent``: set when the first batch
    has been sent. ``failure``: every batch ends with it. ``refused``: commands that get an error as their reply.
    """

    def __init__(self) -> None:
        self.replies = asyncio.Event()
        self.replies.set()
        self.batches: list[list[Command]] = []
        self.sent = asyncio.Event()
        self.failure: Exception | None = None
        self.refused: set[Command] = set()
        self._commands: list[Command] = []

    def pipeline(self, transaction: bool) -> Self:
        """A pipeline that is no transaction."""
        assert not transaction
        self._commands = []
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def aclose(self) -> None:
        """Nothing is open."""

    def execute_command(self, *command: Any) -> None:
        """Add a command to the pipeline."""
        self._commands.append(command)

    async def execute(self, raise_on_error: bool) -> Sequence[Any]:
        """Each command as its own reply."""
        assert not raise_on_error
        self.batches.append(self._commands)
        self.sent.set()
        await self.replies.wait()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return [ResponseError("WRONGTYPE") if one in self.refused else one for one in self._commands]


class Case:
    """Look-ups on a store, with a clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store = Store()
        self.look_ups = LookUps(cast(Redis, self.store), lambda: self.now)

    async def outcome(self, *commands: Command) -> Any:
        """The replies, or the type of the error."""
        try:
            return await self.look_ups.ask(*commands)
        except (Unreachable, Crowded) as error:
            return type(error)


def run(test: Callable[[Case], Awaitable[None]]) -> None:
    """Run a test on a case of its own."""

    async def work() -> None:
        await test(Case())

    asyncio.run(work())


def test_equal_look_ups_are_sent_once() -> None:
    """A thousand at the same time make one command, and all get its reply."""

    async def test(case: Case) -> None:
        replies = await asyncio.gather(*(case.outcome(("GET", "a"), ("GET", at % 3)) for at in range(1_000)))
        assert replies == [[("GET", "a"), ("GET", at % 3)] for at in range(1_000)]
        assert case.store.batches == [[("GET", "a"), ("GET", 0), ("GET", 1), ("GET", 2)]]

    run(test)


def test_a_reply_is_never_older_than_its_request() -> None:
    """What comes while an equal command is on its way is sent after it, once: the first reply may be out of date."""

    async def test(case: Case) -> None:
        case.store.replies.clear()
        first = asyncio.create_task(case.outcome(("GET", "a")))
        await case.store.sent.wait()
        later = [asyncio.create_task(case.outcome(("GET", "a"))) for _ in range(50)]
        await asyncio.sleep(0)
        case.store.replies.set()
        assert await asyncio.gather(first, *later) == [[("GET", "a")]] * 51
        assert case.store.batches == [[("GET", "a")], [("GET", "a")]]

    run(test)


def test_many_look_ups_wait_their_turn() -> None:
    """One batch of BATCH_MAX at a time, first come, first served, and none is refused."""

    async def test(case: Case) -> None:
        count = 25 * BATCH_MAX
        replies = await asyncio.gather(*(case.outcome(("GET", at)) for at in range(count)))
        assert replies == [[("GET", at)] for at in range(count)]
        assert [len(batch) for batch in case.store.batches] == [BATCH_MAX] * 25
        assert [command for batch in case.store.batches for command in batch] == [("GET", at) for at in range(count)]

    run(test)


def test_who_leaves_disturbs_nobody() -> None:
    """A request that is cancelled takes no reply from others with the same look-up."""

    async def test(case: Case) -> None:
        case.store.replies.clear()
        leaving, staying = (asyncio.create_task(case.outcome(("GET", "a"))) for _ in range(2))
        await case.store.sent.wait()
        leaving.cancel()
        case.store.replies.set()
        assert await staying == [("GET", "a")]
        assert leaving.cancelled()

    run(test)


@pytest.mark.parametrize("failure", [NoRedis(), TimeoutError(), OSError()])
def test_a_redis_that_fails_is_left_alone_for_a_moment(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """All that wait are told at once, nothing is sent for RETRY_AFTER_S, and the log says it once."""

    async def test(case: Case) -> None:
        case.store.failure = failure
        told = await asyncio.gather(*(case.outcome(("GET", at)) for at in range(3 * BATCH_MAX)))
        assert set(told) == {Unreachable}
        assert await case.outcome(("GET", "a")) is Unreachable
        assert len(case.store.batches) == 1
        case.now += RETRY_AFTER_S
        assert await case.outcome(("GET", "a")) is Unreachable
        case.now += RETRY_AFTER_S
        case.store.failure = None
        assert await case.outcome(("GET", "a")) == [("GET", "a")]
        assert len(case.store.batches) == 3

    run(test)
    said = [record.getMessage().split(" used")[0] for record in caplog.records]
    assert said == ["Redis cannot be", "Redis can be"]


def test_a_redis_that_is_silent_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After BATCH_LIMIT_S, for those of the batch and for those that wait."""
    monkeypatch.setattr(module, "BATCH_LIMIT_S", 0.05)

    async def test(case: Case) -> None:
        case.store.replies.clear()
        told = await asyncio.gather(*(case.outcome(("GET", at)) for at in range(2 * BATCH_MAX)))
        assert set(told) == {Unreachable}

    run(test)


def test_a_busy_worker_does_not_take_redis_for_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the event loop stood still for longer than BATCH_LIMIT_S, the replies that came meanwhile are read."""
    monkeypatch.setattr(module, "BATCH_LIMIT_S", 0.05)

    async def test(case: Case) -> None:
        case.store.replies.clear()
        asking = asyncio.create_task(case.outcome(("GET", "a")))
        await case.store.sent.wait()
        asyncio.get_running_loop().call_soon(time.sleep, 0.2)
        case.store.replies.set()
        assert await asking == [("GET", "a")]

    run(test)


def test_a_wait_that_is_too_long_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with Crowded, and the next look-up is sent as ever."""
    monkeypatch.setattr(module, "WAIT_LIMIT_S", 0.05)

    async def test(case: Case) -> None:
        case.store.replies.clear()
        assert await case.outcome(("GET", "a")) is Crowded
        case.store.replies.set()
        assert await case.outcome(("GET", "b")) == [("GET", "b")]

    run(test)


def test_a_command_that_redis_refuses_concerns_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The other commands of its batch get their replies, and no pause follows; a Redis that refuses all has failed."""

    async def test(case: Case) -> None:
        case.store.refused = {("GET", "bad")}
        told = await asyncio.gather(*(case.outcome(("GET", one)) for one in ("a", "bad", "b")))
        assert told == [[("GET", "a")], Unreachable, [("GET", "b")]]
        assert await case.outcome(("GET", "a")) == [("GET", "a")]
        assert await case.outcome(("GET", "bad")) is Unreachable
        assert await case.outcome(("GET", "a")) is Unreachable

    run(test)
    assert [record.getMessage() for record in caplog.records] == [
        "Redis refused a look-up: WRONGTYPE",
        "Redis cannot be used, log-ins stop: ResponseError WRONGTYPE",
    ]


def test_closing_ends_the_wait() -> None:
    """Whoever waits is told that Redis cannot be reached."""

    async def test(case: Case) -> None:
        case.store.replies.clear()
        waiting = [asyncio.create_task(case.outcome(("GET", at))) for at in range(2 * BATCH_MAX)]
        await case.store.sent.wait()
        await case.look_ups.close()
        assert set(await asyncio.gather(*waiting)) == {Unreachable}

    run(test)
