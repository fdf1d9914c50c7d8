"""The data directory of ``ecounters run``: its mode, and its lock, so that only one process uses it at a time."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ecounters.errors import Stop

PRIVATE_DIR: Final = 0o700
"""Mode of a directory that only its owner can use. The data has telephone numbers of callers."""
PRIVATE_FILE: Final = 0o600
"""Mode of a file that only its owner can read and write."""
LOCK: Final = "lock"
OWN_NAMES: Final = frozenset({LOCK, "log", "store"})
"""What ``ecounters run`` puts into its data directory."""


@contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Make ``data_dir`` private and lock its file ``lock``. Yields the file descriptor that holds the lock.

    A child that inherits the descriptor holds the lock too: the file stays locked until this process and all such
    children have closed the descriptor. Raises Stop if another process holds the lock.
    """
    _make_private(data_dir)
    path = data_dir / LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    os.fchmod(lock, PRIVATE_FILE)
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


def _make_private(data_dir: Path) -> None:
    """Create ``data_dir``, with its parents, if it is missing, and keep other users of the machine out of it.

    A directory that holds other things too may be shared on purpose: its mode stays, and a warning on stderr says so.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    if {path.name for path in data_dir.iterdir()} <= OWN_NAMES:
        data_dir.chmod(PRIVATE_DIR)
    elif data_dir.stat().st_mode & 0o077:
        sys.stderr.write(
            f"ecounters: {data_dir} holds other things too, so its mode was left as it is: other users of this machine "
            "may see what is in it. Give a --data-dir of its own.\n"
        )
