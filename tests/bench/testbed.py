"""The testbed of a measurement: broker, store, topics and worker processes, all removed at the end."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ecounters.errors import Stop
from streams.basics.terminal import Progress
from streams.kafka.clients import Kafka
from streams.kafka.publisher import Outgoing
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.local.children import Child, Guard
from streams.local.embedded import Embedded
from streams.tools.publish import at_speed, publish
from tests.bench.measure import ends_of
from tests.bench.report import say
from tests.support.workers import ROOT, Deployment, Worker

PARTITIONS: Final = 8
HELPER_LIMIT_S: Final = 300.0


class Log(NamedTuple):
    """A filled topic. ``messages``: how many; ``ends``: the end offset of each partition."""

    topic: str
    messages: int
    value_bytes: int
    ends: dict[int, int]


class Testbed:
    """A broker and store for one measurement. ``broker``: an existing Kafka; None: the embedded one.

    The store is embedded in either case. Leaving the block ends all processes and removes topics and data.
    """

    def __init__(self, broker: str | None = None, *, keep: bool = False) -> None:
        self._given = broker
        self._keep = keep
        self._exits = ExitStack()
        self._prefix = f"bench-{secrets.token_hex(3)}"
        self._names = 0
        self._guard: Guard
        self.server: Embedded
        self.dir: Path

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.dir = Path(tempfile.mkdtemp(prefix="ecounters-bench-"))
            exits.callback(self._remove_dir)
            # The guard ends the children whatever ends this process, even SIGKILL.
            self._guard = exits.enter_context(Guard())
            self.server = Embedded.launch(self.dir / "store")
            exits.callback(self.server.kill)  # not stop(), which writes all data first
            self._guard.watch(self.server.child)
            self.server.wait()
            if self._given is not None:
                exits.callback(self._remove_topics)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exits.close()

    def _remove_dir(self) -> None:
        if self._keep:
            say(f"logs are in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _remove_topics(self) -> None:
        try:
            asyncio.run(_delete_topics(self.broker, self._prefix))
        except (KafkaError, OSError) as error:
            say(f"topics {self._prefix}-* on {self.broker} could not be deleted: {error}")

    @property
    def broker(self) -> str:
        """The address of the Kafka."""
        return self._given or self.server.broker

    @property
    def title(self) -> str:
        """The kind of broker, for tables."""
        return f"broker {self._given}" if self._given else "embedded broker"

    def deployment(self, partitions: int = PARTITIONS) -> Deployment:
        """A deployment with new topics, which do not exist yet."""
        self._names += 1
        name = f"{self._prefix}-{self._names}"
        return Deployment(self.broker, self.server.redis_url, self.dir, name, partitions)

    def with_new_group(self, deployment: Deployment) -> Deployment:
        """The same events for a new consumer group, with an empty changelog, which is made here."""
        self._names += 1
        new = deployment.with_settings(APP_ID=f"{self._prefix}-app{self._names}")
        self.make_topics(new)
        return new

    def delete_changelog(self, deployment: Deployment) -> None:
        """Delete a changelog that is not used any more: the embedded broker has everything in memory."""
        asyncio.run(_delete_topics(self.broker, app_id(deployment) + "-state-changelog"))

    def delete_topics(self, deployment: Deployment) -> None:
        """Delete the topics of a deployment, likewise."""
        asyncio.run(_delete_topics(self.broker, deployment.name))

    def make_topics(self, deployment: Deployment) -> None:
        """Create the topics of a deployment."""
        name, changelog = deployment.name, f"{app_id(deployment)}-state-changelog"
        spec = TopicsSpec(name, f"{name}.dlq", changelog, deployment.partitions, 1)
        asyncio.run(ensure_topics(Kafka(self.broker), spec))

    def publish(self, deployment: Deployment, messages: Iterable[Outgoing]) -> Log:
        """Publish messages as fast as possible; returns when the broker has them all."""
        progress, value_bytes = Progress("published"), 0

        def counted() -> Iterator[Outgoing]:
            nonlocal value_bytes
            for message in messages:
                value_bytes += len(message.value)
                yield message

        asyncio.run(publish(counted(), Kafka(self.broker), deployment.name, at_speed(0), progress))
        progress.end()
        ends = asyncio.run(ends_of(self.broker, deployment.name, deployment.partitions))
        return Log(deployment.name, progress.count, value_bytes, ends)

    @contextmanager
    def worker(self, deployment: Deployment, launcher: Sequence[str] = ()) -> Iterator[Worker]:
        """A worker process, killed at the end of the block if it still runs."""
        with Worker(deployment, launcher=launcher) as worker, self.watched(worker.process):
            try:
                yield worker
            finally:
                worker.kill()

    @contextmanager
    def watched(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """End a process if this one dies in the block."""
        child = cast(Child, process)  # the guard uses nothing but the pid
        self._guard.watch(child)
        try:
            yield
        finally:
            self._guard.release(child)

    @contextmanager
    def helper(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another process of the bench, killed at the end of the block. Its output is one JSON object."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to this process alone, which ends the others
        )
        with self.watched(process), process:
            try:
                yield process
            finally:
                process.kill()


def app_id(deployment: Deployment) -> str:
    """The consumer group of a deployment."""
    return str(deployment.settings.get("APP_ID", deployment.name))


def outcome(helper: subprocess.Popen[bytes], given: object = None) -> dict[str, Any]:
    """The JSON that a helper prints at its end; ``given`` goes to its stdin as JSON. Raises Stop on failure."""
    try:
        output, _ = helper.communicate(json.dumps(given).encode(), HELPER_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Stop(f"a helper took more than {HELPER_LIMIT_S:g} s") from None
    if helper.returncode:
        raise Stop(f"a helper ended with exit code {helper.returncode}")
    return cast(dict[str, Any], json.loads(output))


async def _delete_topics(broker: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()
