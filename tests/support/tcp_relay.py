"""A TCP relay in front of a server, which can be cut or made to hang as networks do."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class TcpRelay:
    """Passes bytes between its own port and ``host:port``.

    After ``cut`` connections end and none is accepted, until ``mend``. After ``hang`` connections stay and no byte
    passes, until ``resume``. ``listen``: its own port; 0: any free one. ``bytes_per_s``: so much passes
    on all connections together; 0: all that comes. It may be changed. ``connections`` counts all that were accepted.
    """

    def __init__(self, host: str, port: int, listen: int = 0, bytes_per_s: float = 0) -> None:
        self._to = host, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.bytes_per_s = bytes_per_s
        self._line = asyncio.Lock()
        self.port = listen
        self.connections = 0

    async def __aenter__(self) -> TcpRelay:
        await self.mend()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Accept connections (again), on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close all connections and accept no more."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._writers.clear()
        self._server = None

    def hang(self) -> None:
        """Accept connections and read bytes, but pass nothing on."""
        self._passing.clear()

    def resume(self) -> None:
        """Pass on the bytes that came meanwhile, and all later ones."""
        self._passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            to_reader, to_writer = await asyncio.open_connection(*self._to)
        except OSError:  # the server does not listen: close this side too
            writer.close()
            return
        self._writers |= {writer, to_writer}
        for source, target in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while content := await source.read(65_536):
                await self._passing.wait()
                if self.bytes_per_s:
                    async with self._line:
                        await asyncio.sleep(len(content) / self.bytes_per_s)
                target.write(content)
                await target.drain()
        target.close()
