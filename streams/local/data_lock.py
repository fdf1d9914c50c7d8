"""The lock of a data directory: only one ``ecounters run`` uses it at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecounters.errors import Stop


@contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Create ``data_dir`` if it is missing and lock its file ``lock``. Yields the file descriptor that holds the lock.

    A child that inherits the descriptor holds the lock too: the file stays locked until this process and all such
    children have closed the descriptor. Raises Stop if another process holds the lock.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Stop(
                f"{data_dir} is in use by another `ecounters run` (process {path.read_text().strip() or 'unknown'}): "
                "end that one with Ctrl-C, or give this one another --data-dir"
            ) from None
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield lock
    finally:
        os.close(lock)
