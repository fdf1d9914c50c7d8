"""Running ``ecounters audit`` and other commands in a deployment."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.support.workers import ROOT, Deployment, Worker

TIME_LIMIT_S: Final = 240


def ran(deployment: Deployment, *args: str) -> tuple[int, list[str], str]:
    """Run a command; returns its exit code, the lines of its stdout, and its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *args],
        cwd=ROOT, env=deployment.environment(), capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr


def audited(deployment: Deployment, *workers: Worker, options: tuple[str, ...] = ()) -> tuple[int, list[str], str]:
    """Run ``ecounters audit`` of these workers."""
    urls = [part for worker in workers for part in ("--worker", f"http://127.0.0.1:{worker.port}")]
    return ran(deployment, "audit", *urls, *options)
