"""The lock of a data directory: for one process and its children."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecounters.errors import Stop
from streams.local.data_lock import locked


def test_a_directory_is_locked_once(tmp_path: Path) -> None:
    """The second one is told who has it; afterwards it is free again."""
    data_dir = tmp_path / "new" / "data"
    with (
        locked(data_dir),
        pytest.raises(Stop, match=rf"in use by another .* \(process {os.getpid()}\)"),
        locked(data_dir),
    ):
        pass
    with locked(data_dir):
        pass


def test_whoever_inherits_the_descriptor_has_the_lock_too(tmp_path: Path) -> None:
    """A server that outlives its parent goes on using the data."""
    with locked(tmp_path) as lock:
        inherited = os.dup(lock)
    try:
        with pytest.raises(Stop), locked(tmp_path):
            pass
    finally:
        os.close(inherited)
