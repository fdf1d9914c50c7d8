"""Apache Kafka for tests, as one node or as a cluster of processes on this machine."""

from __future__ import annotations

import secrets
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from ecounters.errors import Stop
from streams.local.children import Guard
from streams.local.ports import LOCAL, free_ports
from tests.support import secured
from tests.support.kafka_broker import Broker
from tests.support.kafka_jars import fetch, java
from tests.support.kafka_security import LISTENERS, SASL, Security

START_LIMIT_S: Final = 90.0
"""A start takes 5 s on an idle machine; tests run on busy ones too."""
POLL_S: Final = 0.1
ERRORS_SHOWN: Final = 20
JVM: Final = (
    # Three nodes and the tests share a small machine: little memory, and only the quick compiler.
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # Each process would write a file to /tmp, and leave it there when it is killed.
    "-XX:-UsePerfData",
    # Without memory a broker would hang; a process that ends is noticed.
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
SCRIPTS: Final = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}
"""Script of Kafka's distribution -> the class that it runs."""
SETTINGS: Final[Mapping[str, object]] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": (
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,SASL:SASL_SSL,BRIEF:SASL_SSL,MTLS:SSL"
    ),
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # Few partitions of internal topics: each costs files and time at every start.
    "num.partitions": 4,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    "num.network.threads": 2,
    "num.io.threads": 4,
    # A rebalance does not wait for further members, and a short session timeout is allowed.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1_000,
    # A killed or paused node loses its partitions after 5 s, not 9. With less, a busy node would lose them too.
    "broker.session.timeout.ms": 5_000,
    "broker.heartbeat.interval.ms": 500,
    # Compaction within seconds. The buffer is 8 MiB: the default of 128 MiB would be a third of the heap.
    "log.cleaner.backoff.ms": 500,
    "log.cleaner.dedupe.buffer.size": 8 * 1_048_576,
    # A transaction that nobody ends is aborted at its timeout, not up to 10 s later.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
}


class Cluster:
    """A cluster of nodes 1 to ``count``. With three nodes any one may be lost.

    ``replication``: copies of topics that do not say how many, and of Kafka's internal topics. All copies but one must
    have a write before it is acknowledged. ``far``: node -> (port, advertised port) of a second listener.
    ``settings``: of all nodes, more than SETTINGS. ``security``: what gives the nodes secured listeners; without it
    they have none, unless ``secured.is_on``: then the processes of deployments come by one.
    """

    def __init__(
        self,
        directory: Path,
        count: int = 1,
        replication: int | None = None,
        far: Mapping[int, tuple[int, int]] | None = None,
        settings: Mapping[str, object] | None = None,
        security: Security | None = None,
    ) -> None:
        self.directory = directory
        self.nodes: dict[int, Broker] = {}
        self._count = count
        self._far = far or {}
        self._is_noted = False
        if security is None and secured.is_on():
            security = Security(directory.parent / f"{directory.name}-security", trusted=True)
            self._is_noted = True
        self.security = security
        self._more = {**(security.broker_settings() if security else {}), **(settings or {})}
        self._copies = min(count, 3) if replication is None else replication
        self._id = "k" + secrets.token_urlsafe(16)[1:]  # the format tool takes a leading "-" for an option
        self._java: list[str] = []
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.end_all()

    @property
    def address(self) -> str:
        """The addresses of all nodes, running or not, separated by commas."""
        return ",".join(f"{LOCAL}:{broker.port}" for broker in self.nodes.values())

    def address_of(self, listener: str) -> str:
        """The addresses of all nodes at one of their secured listeners, separated by commas."""
        return ",".join(f"{LOCAL}:{broker.secured[listener]}" for broker in self.nodes.values())

    def scripts(self) -> Path:
        """A directory with Kafka's own scripts for administrators, by the names that its distribution has."""
        folder = self.directory / "scripts"
        folder.mkdir(exist_ok=True)
        for name, main in SCRIPTS.items():
            script = folder / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join(self._java)} {main} "$@"\n')
            script.chmod(0o755)
        return folder

    def start(self) -> Self:
        """Fetch Apache Kafka if necessary, start all nodes on empty directories, and wait. Raises Stop on failure."""
        self._java = [str(java()), *JVM, "-cp", f"{fetch()}/*"]
        self.directory.mkdir(parents=True, exist_ok=True)
        self._guard = Guard()
        try:
            names = LISTENERS if self.security else ()
            ports = iter(free_ports((2 + len(names)) * self._count))
            for node in range(1, self._count + 1):
                own, further = (next(ports), next(ports)), {name: next(ports) for name in names}
                data = self.directory / f"node-{node}"
                self.nodes[node] = Broker(data, node, own, self._guard, self._far.get(node), further)
            for broker in self.nodes.values():
                self._start(broker)
            self.wait()
        except BaseException:
            self.end_all()
            raise
        if self.security is not None and self._is_noted:
            how = self.security.client_settings("SCRAM-SHA-512")
            secured.note(self.address, {"BROKER": self.address_of(SASL), **how})
        return self

    def _start(self, broker: Broker) -> None:
        broker.start(self._java, self._id, self._settings(), self.security.users_option() if self.security else "")

    def _settings(self) -> dict[str, object]:
        voters = [f"{node}@{LOCAL}:{broker.controller_port}" for node, broker in self.nodes.items()]
        needed = max(1, self._copies - 1)
        copies = {f"{topic}.replication.factor": self._copies for topic in ("default", "offsets.topic")}
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            copies |= {f"{topic}.replication.factor": self._copies, f"{topic}.min.isr": needed}
        return {
            **SETTINGS,
            **copies,
            "min.insync.replicas": needed,
            "controller.quorum.voters": ",".join(voters),
            **self._more,
        }

    def wait(self, limit_s: float = START_LIMIT_S) -> None:
        """Wait until every running node replies and knows exactly the running nodes. Raises Stop after ``limit_s``."""
        _until(lambda: next(self._disagreements(), ""), limit_s)

    def wait_in_sync(self, limit_s: float = START_LIMIT_S) -> None:
        """Wait until all copies of all partitions are in sync. Raises Stop after ``limit_s``."""
        _until(lambda: next(self._out_of_sync(), ""), limit_s)

    def _running(self) -> dict[int, Broker]:
        for node, broker in self.nodes.items():
            if complaint := broker.complaint():
                raise Stop(f"Kafka's node {node} has ended, {complaint}")
        return {node: broker for node, broker in self.nodes.items() if broker.runs and not broker.paused}

    def _disagreements(self) -> Iterator[str]:
        running = self._running()
        for node, broker in running.items():
            reply = broker.metadata()
            known = {one[0] for one in reply.brokers} if reply else set()
            if known != set(running):
                yield f"node {node} knows {sorted(known)} of {sorted(running)}"

    def _out_of_sync(self) -> Iterator[str]:
        for node, broker in self._running().items():
            if (reply := broker.metadata()) is None:
                yield f"node {node} does not answer"
            for _, topic, _, partitions in reply.topics if reply else ():
                for _, partition, _, copies, in_sync in partitions:
                    if set(copies) != set(in_sync):
                        yield f"node {node} says of {topic}/{partition} that of {copies} are in sync {in_sync}"

    def kill(self, node: int) -> None:
        """Kill a node with SIGKILL. The other nodes notice some seconds later: ``wait``."""
        self.nodes[node].end(signal.SIGKILL)

    def stop(self, node: int) -> None:
        """Stop a node with SIGTERM: it hands over its leaderships first."""
        self.nodes[node].end(signal.SIGTERM)

    def restart(self, *nodes: int) -> None:
        """Start nodes on their data and ports, stopping those that run, and wait until the cluster is complete."""
        for node in nodes:
            self.stop(node)
            self._start(self.nodes[node])
        self.wait()

    def pause(self, node: int) -> None:
        """Let a node hang, with SIGSTOP."""
        self.nodes[node].pause()

    def resume(self, node: int) -> None:
        """Let a node go on, with SIGCONT."""
        self.nodes[node].resume()

    def end_all(self) -> None:
        """Kill all nodes. The data are not needed any more."""
        for broker in self.nodes.values():
            broker.end(signal.SIGKILL)
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def errors(self) -> list[str]:
        """The last lines with ERROR in the logs of all nodes. A node that loses another logs some as well."""
        logs = (log.read_text(errors="replace") for broker in self.nodes.values() for log in broker.logs)
        lines = (line for log in logs for line in log.splitlines())
        return [line for line in lines if " ERROR " in line][-ERRORS_SHOWN:]


def _until(why_not: Callable[[], str], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while why := why_not():
        if time.monotonic() > deadline:
            raise Stop(f"Kafka is not as it should be after {limit_s:g} s: {why}")
        time.sleep(POLL_S)
