"""Blocks of a file or pipe come when they are there, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from streams.basics.blocks import BLOCK_BYTES, BlockReader


def test_a_file_comes_in_blocks(tmp_path: Path) -> None:
    """All of it, in order, and then nothing."""
    path, content = tmp_path / "file", os.urandom(BLOCK_BYTES + 7)
    path.write_bytes(content)

    async def read() -> list[bytes]:
        with path.open("rb") as file:
            reader = BlockReader(file)
            blocks = [await reader.ask() for _ in range(4)]
            reader.close()
            return blocks

    assert asyncio.run(read()) == [content[:BLOCK_BYTES], content[BLOCK_BYTES:], b"", b""]


def test_a_pipe_gives_what_has_come() -> None:
    """While nothing comes the loop is free, and a block that nobody waits for any more does no harm."""

    async def read() -> list[bytes]:
        out, into = os.pipe()
        with os.fdopen(out, "rb") as file, os.fdopen(into, "wb", buffering=0) as pipe:
            reader = BlockReader(file)
            asked = reader.ask()
            assert (await asyncio.wait([asked], timeout=0.05))[0] == set()
            pipe.write(b"one")
            blocks = [await asked]
            reader.ask().cancel()
            pipe.write(b"nobody waits")
            last = reader.ask()
            await asyncio.sleep(0.05)
            pipe.write(b"two")
            blocks.append(await last)
            reader.close()
            return blocks

    assert asyncio.run(read()) == [b"one", b"two"]


def test_what_cannot_be_read_raises() -> None:
    """The error of the system."""

    async def read() -> None:
        out, into = os.pipe()
        os.close(out)
        with os.fdopen(into, "wb") as unreadable:
            reader = BlockReader(unreadable)
            try:
                await reader.ask()
            finally:
                reader.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        asyncio.run(read())
