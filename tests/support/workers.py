"""Real worker processes for tests: a deployment that they work in, and asking them over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.clients import Kafka
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.local.ports import free_ports
from streams.settings.load import load
from streams.settings.table import Settings
from streams.web.paths import COUNTERS_PATHS, METRICS_PATH, READY_PATH
from tests.support.secured import settings_of

ROOT: Final = Path(__file__).parent.parent.parent
PATH: Final = COUNTERS_PATHS[0]
READY_LIMIT_S: Final = 60.0
END_LIMIT_S: Final = 30.0
REQUEST_LIMIT_S: Final = 5.0
COUNTERS_LIMIT_S: Final = 30.0
"""A reply with 100,000 DIDs takes seconds on a busy machine."""
HANDOVER_S: Final = 10
"""Workers of tests end as soon as others have their partitions, but no later; a test may kill all others."""
DROP_LIMIT_MS: Final = 10_000
LATE: Final = ("rebalancing", "restoring", "silent", "lag_ms")
"""What /readyz says of a worker that can answer, and whose counters are not up to date."""


@dataclass(frozen=True)
class Deployment:
    """Where workers of a test work: topics of its own on a broker, a store, and settings.

    ``settings``: more settings, as names without ECOUNTERS_. ``started``: all workers, for ``end_all``.
    """

    broker: str
    redis_url: str
    log_dir: Path
    name: str = field(default_factory=lambda: f"t{secrets.token_hex(5)}")
    partitions: int = 4
    settings: Mapping[str, object] = field(default_factory=dict)
    started: list[Worker] = field(default_factory=list)

    def end_all(self) -> None:
        """Kill all workers that were started here, and remove the topics from the embedded broker.

        That broker writes all that it has to a file every second: with the topics of all tests, 1 GB, which took half a
        processor from the tests that came later.
        """
        for worker in self.started:
            worker.kill()
        if not os.environ.get("ECOUNTERS_TEST_BROKER"):
            with suppress(KafkaError):  # a test may have ended the broker
                asyncio.run(self._drop_topics())

    async def _drop_topics(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker, request_timeout_ms=DROP_LIMIT_MS)
        try:
            await admin.start()
            await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(self.name)])
        finally:
            await admin.close()

    def environment(self, **more: object) -> dict[str, str]:
        """The environment of a process in this deployment. ``more``: settings of this process alone."""
        given = {
            "BROKER": self.broker,
            "REDIS": self.redis_url,
            "TOPIC": self.name,
            "APP_ID": self.name,
            "PARTITIONS": self.partitions,
            "DRAIN_S": 0,
            "HANDOVER_S": HANDOVER_S,
            **settings_of(self.broker),
            **self.settings,
            **more,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOUNTERS_")}
        return clean | {f"ECOUNTERS_{name}": str(value) for name, value in given.items()}

    def loaded(self) -> Settings:
        """The settings that a process in this deployment has."""
        return load({name: value for name, value in self.environment().items() if name.startswith("ECOUNTERS_")})

    @property
    def kafka(self) -> Kafka:
        """How a process in this deployment reaches Kafka."""
        return Kafka.of(self.loaded())

    def create_topics(self) -> None:
        """Create the topics as `ecounters topics` does."""
        asyncio.run(ensure_topics(self.kafka, TopicsSpec.of(self.loaded())))

    def with_settings(self, **settings: object) -> Deployment:
        """The same topics and store with further settings."""
        return replace(self, settings={**self.settings, **settings})


@dataclass(frozen=True)
class Reply:
    """A reply of a worker."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Worker:
    """A worker process. Its port is ``port``, or any free one.

    ``replaces``: an ended worker whose name in the group this one takes. ``named``: whether it has a name (an instance
    id): a successor with that name gets its partitions at once, else the group waits for the session timeout.
    ``tls``: how it is asked over TLS; None without TLS.
    ``probed``: the port of health and metrics, if they have one of their own.
    ``launcher``: a module and its options that start the command line instead of streams.cli (see kill_at_step).
    ``program``: the ``ecounters`` of another install.
    """

    def __init__(
        self,
        deployment: Deployment,
        replaces: Worker | None = None,
        *,
        named: bool = True,
        port: int = 0,
        probed: int = 0,
        tls: ssl.SSLContext | None = None,
        launcher: Sequence[str] = (),
        program: Path | None = None,
    ) -> None:
        self.deployment = deployment
        self.named = named
        self.launcher = launcher
        self.port = port or free_ports(1)[0]
        self.probed = probed or self.port
        self.tls = tls
        self.name: str = f"w{self.port}" if replaces is None else replaces.name
        self.log = deployment.log_dir / f"worker-{self.name}-{self.port}.log"
        environment = deployment.environment(PORT=self.port, INSTANCE_ID=self.name if named else "")
        starts = [sys.executable, "-m", *(launcher or ["streams.cli"])] if program is None else [str(program)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*starts, "worker"], cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deployment.started.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    # ------------------------------------------------------------------------------------------ its end

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(END_LIMIT_S)

    def end(self) -> float:
        """Send SIGTERM and wait. Returns the seconds until the end; AssertionError if the end was not orderly."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.wait_ended_in_order(END_LIMIT_S)
        return time.monotonic() - began

    def wait_ended_in_order(self, limit_s: float = READY_LIMIT_S) -> None:
        """Wait for the process's end. AssertionError if the end was not orderly; TimeoutExpired after the limit."""
        code = self.process.wait(limit_s)
        said = self.log.read_text(errors="replace")
        cut_short = "Exception in thread" in said or "ending without it" in said
        assert code == 0 and not cut_short, self.log_tail()

    def wait_stopped(self, limit_s: float = READY_LIMIT_S) -> bool:
        """Wait until SIGSTOP has stopped the process. False after ``limit_s``."""
        deadline = time.monotonic() + limit_s
        while os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def log_tail(self) -> str:
        """The last 4,000 characters of its log."""
        return self.log.read_text(errors="replace")[-4_000:]

    # ------------------------------------------------------------------------------------------ asking it

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float = REQUEST_LIMIT_S,
    ) -> Reply:
        """Send one request. A body of bytes is sent as it is, any other as JSON.

        OSError if nothing listens, or if nothing comes for ``limit_s``.
        """
        port = self.probed if path in (READY_PATH, METRICS_PATH) else self.port
        if self.tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=limit_s, context=self.tls)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def ask(self, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for counters."""
        return self.request("POST", PATH, body, headers, COUNTERS_LIMIT_S)

    def metric(self, name: str) -> float:
        """The value of a metric; with labels, the sum over them."""
        text = self.request("GET", METRICS_PATH).body.decode()
        rows = [line.rsplit(" ", 1) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        assert rows, f"there is no metric {name}"
        return sum(float(value) for _, value in rows)

    def why_not_ready(self) -> str:
        """Why it is not ready, in words; "" if it is."""
        try:
            reply = self.request("GET", READY_PATH)
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        return "" if reply.status == 200 else str(reply.json["message"])

    def why_not_settled(self) -> str:
        """Why it is not ready, or what /readyz says is late: a rebalance, a restore, silence of Kafka, a lag; "" if
        nothing is."""
        if why := self.why_not_ready():
            return why
        late = {name: value for name, value in self.request("GET", READY_PATH).json.items() if name in LATE}
        return str(late) if late else ""

    def wait_ready(self, limit_s: float = READY_LIMIT_S) -> Self:
        """Wait until /readyz says 200, and that nothing is late. AssertionError, with the end of the log, if it ends or
        takes too long."""
        deadline = time.monotonic() + limit_s
        while why := self.why_not_settled():
            assert self.process.poll() is None, f"it ended: {self.log_tail()}"
            assert time.monotonic() < deadline, f"not ready after {limit_s} s ({why}): {self.log_tail()}"
            time.sleep(0.05)
        return self
