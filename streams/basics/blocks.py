"""``BlockReader``: reads a file or pipe in a thread, so that an event loop does not stand still while nothing comes."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from contextlib import suppress
from typing import BinaryIO, Final

BLOCK_BYTES: Final = 1_048_576
"""The most bytes of a block. A pipe gives less: what has come."""

_Asked = asyncio.Future[bytes]


class BlockReader:
    """Reads a file block by block, each when it is asked for. ``close`` it at the end.

    The thread is a daemon: a read of a pipe on which nothing comes cannot be ended, and must not keep the process
    alive. It reads the file descriptor itself, because a lock of Python's buffer would be held at the end.
    """

    def __init__(self, file: BinaryIO) -> None:
        """``file``: nothing was read of it through Python's buffer. Raises OSError if it has no file descriptor."""
        self._descriptor = file.fileno()
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="block-reader", daemon=True).start()

    def ask(self) -> asyncio.Future[bytes]:
        """The next block, when it has come; b"" at the end of the file. Its OSError if it cannot be read."""
        asked = asyncio.get_running_loop().create_future()
        self._asked.put(asked)
        return asked

    def close(self) -> None:
        """End the thread, unless it waits for a block for ever."""
        self._asked.put(None)

    def _read(self) -> None:
        """Read a block for each one that is asked for. Runs in the thread."""
        while (asked := self._asked.get()) is not None:
            block, error = b"", None
            try:
                block = os.read(self._descriptor, BLOCK_BYTES)
            except OSError as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits for the block any more
                asked.get_loop().call_soon_threadsafe(_settle, asked, block, error)


def _settle(asked: _Asked, block: bytes, error: OSError | None) -> None:
    """Give a block, or the error, to who has asked for it and was not cancelled meanwhile."""
    if asked.done():
        return
    if error is not None:
        asked.set_exception(error)
    else:
        asked.set_result(block)
