"""Shell scripts have no fault that a linter finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "deploy").rglob("*.sh"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean(path: Path) -> None:
    """By shellcheck; CI installs it."""
    program = shutil.which("shellcheck")
    if program is None:
        assert not os.environ.get("ECOUNTERS_TEST_CLIENTS"), "shellcheck is missing"
        pytest.skip("there is no shellcheck: apt-get install shellcheck")
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
