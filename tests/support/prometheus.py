"""A real Prometheus that scrapes workers, and its promtool: programs of Debian's package prometheus."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from streams.local.ports import LOCAL, free_ports

NEEDED: Final = "ECOUNTERS_TEST_PROMETHEUS"
LIMIT_S: Final = 20.0

_CONFIG: Final = """
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}
rule_files: {rules}
scrape_configs:
  - job_name: ecounters
    static_configs: [{{ targets: {targets} }}]
"""


def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``. Without it the test is skipped, or fails if NEEDED is set."""
    found = shutil.which(name)
    if found is None and os.environ.get(NEEDED):
        pytest.fail(f"{name} is missing")
    if found is None:
        pytest.skip(f"there is no {name}: apt-get install prometheus")
    return found


def refused_by_promtool(folder: Path, expressions: Sequence[str]) -> str:
    """What promtool says of PromQL expressions that it does not understand; "" if it understands all of them."""
    rows = [{"record": f"query:number{at}", "expr": expression} for at, expression in enumerate(expressions)]
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rows}]}))
    done = subprocess.run([program("promtool"), "check", "rules", rules], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


class Prometheus:
    """A process that scrapes the workers at these ports every half second. ``rules``: files of alerts."""

    def __init__(self, folder: Path, ports: Sequence[int], rules: Sequence[Path] = ()) -> None:
        folder.mkdir()
        targets = json.dumps([f"{LOCAL}:{port}" for port in ports])
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(targets=targets, rules=json.dumps([str(rule) for rule in rules])))
        self.port = free_ports(1)[0]
        self._log = folder / "log"
        command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address={LOCAL}:{self.port}"]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + LIMIT_S
        while not self._is_ready():
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()[-2_000:]
            time.sleep(0.05)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://{LOCAL}:{self.port}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def ask(self, path: str, **query: str) -> Any:
        """The data of a reply of its HTTP API: ``ask("query", query="up")``."""
        with urlopen(f"http://{LOCAL}:{self.port}/api/v1/{path}?{urlencode(query)}", timeout=10) as response:
            return json.load(response)["data"]

    def values(self, query: str) -> dict[tuple[str, ...], float]:
        """What a PromQL expression gives now: the values of its labels, in the order of their names -> value."""
        found = self.ask("query", query=query)["result"]
        return {tuple(row["metric"][name] for name in sorted(row["metric"])): float(row["value"][1]) for row in found}
