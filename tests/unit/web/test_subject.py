"""What a listener is written, and when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast
from zoneinfo import ZoneInfo

from ecounters.errors import INTERNAL, RequestRefused
from ecounters.query.request import Query
from streams.access.sessions import Account
from streams.web.sse import Frame
from streams.web.subject import BYTES_PER_TURN, STUCK_LIMIT_S, Listener, MakeReply, Subject

PAYLOAD, STATUS = Frame.of(b"payload"), Frame.of(b"status")


class Connection:
    """A connection whose other side takes bytes, or does not: ``buffered`` of them wait."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.buffered = 0
        self.closing = False

    def write(self, content: bytes) -> None:
        """Take bytes."""
        self.written.append(content)

    def get_write_buffer_size(self) -> int:
        """How many bytes wait."""
        return self.buffered

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closing

    def abort(self) -> None:
        """Close it."""
        self.closing = True


def run(test: Callable[[Connection, Listener], None], *, chunked: bool = True) -> None:
    """Run a test with a listener that has version 1."""

    async def work() -> None:
        connection = Connection()
        test(connection, Listener(cast(asyncio.Transport, connection), "1", chunked=chunked))

    asyncio.run(work())


def test_a_listener_is_written_what_it_lacks() -> None:
    """The payload of another version, else the status if there is one, else nothing."""

    def test(connection: Connection, listener: Listener) -> None:
        assert not listener.offer("1", PAYLOAD, None, 0)
        assert listener.offer("1", PAYLOAD, STATUS, 0)
        assert listener.offer("2", PAYLOAD, STATUS, 0)
        assert not listener.offer("2", PAYLOAD, None, 0)
        assert connection.written == [STATUS.chunk, PAYLOAD.chunk]

    run(test)


def test_http_1_0_is_written_no_chunks() -> None:
    """The plain bytes."""

    def test(connection: Connection, listener: Listener) -> None:
        assert listener.offer("2", PAYLOAD, None, 0)
        assert connection.written == [PAYLOAD.plain]

    run(test, chunked=False)


def test_a_slow_listener_skips_versions_and_a_stuck_one_is_disconnected() -> None:
    """Nothing is written while bytes wait; after STUCK_LIMIT_S without a free moment it is over."""

    def test(connection: Connection, listener: Listener) -> None:
        connection.buffered = 1
        assert not listener.offer("2", PAYLOAD, STATUS, 100)
        connection.buffered = 0
        assert listener.offer("3", PAYLOAD, STATUS, 101)
        connection.buffered = 1
        assert not listener.offer("4", PAYLOAD, STATUS, 102)
        assert not listener.offer("5", PAYLOAD, STATUS, 102 + STUCK_LIMIT_S)
        assert not listener.ended.done()
        assert not listener.offer("6", PAYLOAD, STATUS, 102.1 + STUCK_LIMIT_S)
        assert (listener.ended.result(), connection.closing) == (None, True)
        assert (connection.written, listener.is_writable) == ([PAYLOAD.chunk], False)

    run(test)


def test_a_closed_connection_ends_its_listener() -> None:
    """It is written nothing more; of several ends the first one counts."""

    def test(connection: Connection, listener: Listener) -> None:
        connection.closing = True
        assert not listener.offer("2", PAYLOAD, STATUS, 0)
        listener.end(RequestRefused(INTERNAL))
        assert (listener.ended.result(), connection.written) == (None, [])

    run(test)


def test_large_payloads_are_written_to_few_listeners_at_a_time() -> None:
    """Each write copies what the kernel does not take at once, so other tasks run after BYTES_PER_TURN bytes."""

    async def work() -> list[int]:
        connections = [Connection() for _ in range(6)]
        subject = Subject(Account("u1", ZoneInfo("UTC")), Query(), cast(MakeReply, None))
        subject.version = "2"
        subject.listeners = {Listener(cast(asyncio.Transport, one), "1", chunked=True) for one in connections}
        writing = asyncio.create_task(subject._write(Frame.of(b"x" * (BYTES_PER_TURN // 2)), None, 0.0))
        written = []
        while not writing.done():
            await asyncio.sleep(0)
            written.append(sum(len(one.written) for one in connections))
        return written

    assert asyncio.run(work())[:3] == [2, 4, 6]
