"""Child processes: started, ended, and looked after."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from streams.local.children import Child, Guard

LIMIT_S = 60.0


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """SIGTERM first, SIGKILL when that does not help."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child("deaf", [sys.executable, "-c", code], tmp_path / "log")
    deadline = time.monotonic() + LIMIT_S
    while child.last_lines() != ["deaf"]:
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    assert child.exit_code is None
    assert child.end(0.2) == child.exit_code == -signal.SIGKILL


def test_a_guard_that_closes_ends_what_is_left(tmp_path: Path) -> None:
    """What was released is not its business any more."""
    kept, released = (Child(name, ["sleep", "60"], tmp_path / name) for name in ("kept", "released"))
    with Guard() as guard:
        guard.watch(kept)
        guard.watch(released)
        guard.release(released)
    assert released.exit_code is None
    assert kept.exit_code == -signal.SIGTERM
    released.kill()
