"""Apache Kafka for tests, as one node or as a cluster on this machine."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from ecounters.errors import Stop
from streams.local.children import Guard
from streams.local.ports import LOCAL, free_ports
from tests.support.kafka_broker import Broker
from tests.support.kafka_jars import fetch, java

START_LIMIT_S: Final = 90.0
"""It takes 5 s on an idle machine; tests are run on busy ones too."""
POLL_S: Final = 0.1
ERRORS_SHOWN: Final = 20
JVM: Final = (
    # Three nodes and the tests share a small machine: little memory, and no compiler that is at work for minutes.
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # It would write a file for each process to /tmp, and leave it there when it is killed.
    "-XX:-UsePerfData",
    # A broker without memory hangs; one that has ended is seen.
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
SETTINGS: Final[Mapping[str, object]] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # Every partition costs files and time at each start.
    "num.partitions": 4,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    "num.network.threads": 2,
    "num.io.threads": 4,
    # Tests do not wait for members that may come, and have workers that are soon taken for dead.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1_000,
    # A node that is killed or paused loses its partitions after 5 s, not 9. Less, and a busy machine looks dead.
    "broker.session.timeout.ms": 5_000,
    "broker.heartbeat.interval.ms": 500,
    # Compaction within seconds, with 8 MiB where 128 are the default: a third of the heap.
    "log.cleaner.backoff.ms": 500,
    "log.cleaner.dedupe.buffer.size": 8 * 1_048_576,
    # A transaction that nobody ends is ended at its timeout, not up to 10 s later.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
}


class Cluster:
    """Kafka as it is in production, of nodes 1 to ``count``: with three, any one may be lost.

    ``replication``: copies of a topic that does not say how many, and of Kafka's own topics; all but one of them must
    have a write before it is acknowledged. ``far``: node -> a second port of it, and the one that it names to those who
    come there, so that something may stand in between.
    """

    def __init__(
        self,
        directory: Path,
        count: int = 1,
        replication: int | None = None,
        far: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        self.directory = directory
        self.nodes: dict[int, Broker] = {}
        self._count = count
        self._far = far or {}
        self._copies = min(count, 3) if replication is None else replication
        self._id = "k" + secrets.token_urlsafe(16)[1:]  # a first "-" would be taken for an option
        self._java: list[str] = []
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.end_all()

    @property
    def address(self) -> str:
        """Where it is: every node, whether it runs or not."""
        return ",".join(f"{LOCAL}:{broker.port}" for broker in self.nodes.values())

    def start(self) -> Self:
        """Fetch it where that is needed, and start it anew; returns when it answers. Stop if it does not."""
        self._java = [str(java()), *JVM, "-cp", f"{fetch()}/*"]
        self.directory.mkdir(parents=True, exist_ok=True)
        self._guard = Guard()
        try:
            ports = free_ports(2 * self._count)
            for node in range(1, self._count + 1):
                own = ports[2 * node - 2 : 2 * node]
                self.nodes[node] = Broker(self.directory / f"node-{node}", node, own, self._guard, self._far.get(node))
            for broker in self.nodes.values():
                broker.start(self._java, self._id, self._settings())
            self.wait()
        except BaseException:
            self.end_all()
            raise
        return self

    def _settings(self) -> dict[str, object]:
        voters = [f"{node}@{LOCAL}:{broker.controller_port}" for node, broker in self.nodes.items()]
        needed = max(1, self._copies - 1)
        copies = {f"{topic}.replication.factor": self._copies for topic in ("default", "offsets.topic")}
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            copies |= {f"{topic}.replication.factor": self._copies, f"{topic}.min.isr": needed}
        return {**SETTINGS, **copies, "min.insync.replicas": needed, "controller.quorum.voters": ",".join(voters)}

    def wait(self, limit_s: float = START_LIMIT_S) -> None:
        """Until every node that runs answers, and knows those that run and no others. Paused ones do not run."""
        _until(lambda: next(self._disagreements(), ""), limit_s)

    def wait_in_sync(self, limit_s: float = START_LIMIT_S) -> None:
        """Until every copy of every partition is in sync."""
        _until(lambda: next(self._out_of_sync(), ""), limit_s)

    def _running(self) -> dict[int, Broker]:
        for node, broker in self.nodes.items():
            if complaint := broker.complaint():
                raise Stop(f"Kafka's node {node} has ended, {complaint}")
        return {node: broker for node, broker in self.nodes.items() if broker.runs and not broker.paused}

    def _disagreements(self) -> Iterator[str]:
        running = self._running()
        for node, broker in running.items():
            answer = broker.metadata()
            known = {one[0] for one in answer.brokers} if answer else set()
            if known != set(running):
                yield f"node {node} knows {sorted(known)} of {sorted(running)}"

    def _out_of_sync(self) -> Iterator[str]:
        for node, broker in self._running().items():
            if (answer := broker.metadata()) is None:
                yield f"node {node} does not answer"
            for _, topic, _, partitions in answer.topics if answer else ():
                for _, partition, _, copies, in_sync in partitions:
                    if set(copies) != set(in_sync):
                        yield f"node {node} says of {topic}/{partition} that of {copies} are in sync {in_sync}"

    def kill(self, node: int) -> None:
        """SIGKILL. The others notice after a few seconds: ``wait``."""
        self.nodes[node].end(signal.SIGKILL)

    def stop(self, node: int) -> None:
        """SIGTERM: it hands over what it leads, and ends."""
        self.nodes[node].end(signal.SIGTERM)

    def restart(self, *nodes: int) -> None:
        """Start them on their data and ports, after a ``stop`` of what still runs; returns when they are back."""
        for node in nodes:
            self.stop(node)
            self.nodes[node].start(self._java, self._id, self._settings())
        self.wait()

    def pause(self, node: int) -> None:
        """SIGSTOP: it hangs, as a machine does that swaps."""
        self.nodes[node].pause()

    def resume(self, node: int) -> None:
        """SIGCONT."""
        self.nodes[node].resume()

    def end_all(self) -> None:
        """Kill what runs: nobody wants the data."""
        for broker in self.nodes.values():
            broker.end(signal.SIGKILL)
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def errors(self) -> list[str]:
        """The last errors in the nodes' logs; some, of one that has lost another, are nothing to worry about."""
        logs = (log.read_text(errors="replace") for broker in self.nodes.values() for log in broker.logs)
        lines = (line for log in logs for line in log.splitlines())
        return [line for line in lines if " ERROR " in line][-ERRORS_SHOWN:]


def _until(why_not: Callable[[], str], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while why := why_not():
        if time.monotonic() > deadline:
            raise Stop(f"Kafka is not as it should be after {limit_s:g} s: {why}")
        time.sleep(POLL_S)
