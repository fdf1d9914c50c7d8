"""The data directory: private, and locked for one process and its children."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each umask in turn; the process's own is set again afterwards."""
    own = os.umask(request.param)
    yield
    os.umask(own)


def mode(path: Path) -> int:
    """The permission bits of a file or directory."""
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("umask")
def test_a_data_directory_is_private(tmp_path: Path) -> None:
    """A new one, an empty one, and one of an earlier version, which was open to all."""
    used, empty = tmp_path / "used", tmp_path / "empty"
    for path in (used / "store", used / "log", empty):
        path.mkdir(0o755, parents=True)
    (used / "lock").touch()
    for data_dir in (tmp_path / "new" / "data", empty, used):
        with locked(data_dir):
            assert mode(data_dir) == 0o700
            assert mode(data_dir / "lock") == 0o600


def test_a_directory_with_other_things_keeps_its_mode(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It may be shared on purpose, as /tmp is; a warning says so, unless nobody else can use it."""
    (tmp_path / "something else").touch()
    tmp_path.chmod(0o755)
    with locked(tmp_path):
        assert mode(tmp_path) == 0o755
    assert "other users of this machine may see what is in it" in capfd.readouterr().err
    tmp_path.chmod(0o700)
    with locked(tmp_path):
        pass
    assert not capfd.readouterr().err
