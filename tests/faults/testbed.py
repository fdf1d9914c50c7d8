"""The testbed of one round of faults: its topics, a log with chaos that is published all the while, its workers."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient

from ecounters.simulator.world import Plan, Published, simulate
from streams.local.embedded import Embedded
from tests.faults.network import Network
from tests.faults.round_audit import RoundResult, audit_round
from tests.support.accounts import TOKEN, add_users
from tests.support.kafka_cluster import Cluster
from tests.support.log_publisher import LogPublisher, yesterday_ms
from tests.support.workers import Deployment, Worker

USERS: Final = 8
RATE: Final = 1_500.0
"""Events a second: some 150 times as fast as they happened."""
MISROUTE_EVERY: Final = 500
SETTINGS: Final = {"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200, "REPLICATION": 3}
SESSION_S: Final = 6
READY_S: Final = 150.0
"""A rebalance that waits for dead members, and a start that takes 5 s on an idle machine."""
PATIENCE_S: Final = 25.0
POLL_S: Final = 0.05


class RedisServer:
    """A Redis of the run, which can be killed. It restarts on its ports with what it had written to disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = Embedded.start(directory)

    @property
    def url(self) -> str:
        """Its address, whether it runs or not."""
        return self._server.redis_url

    def kill(self) -> None:
        """Kill it with SIGKILL; writes of the last second are lost."""
        self._server.kill()

    def restart(self) -> None:
        """Start it on its data; returns when it replies."""
        self._server = Embedded.start(self._directory, self._server.kafka_port, self._server.redis_port)


class Testbed:
    """The testbed of one round.

    ``chance``: the source of all random choices. ``tally``: counts of what was done, for the table.
    """

    def __init__(self, cluster: Cluster, network: Network, store: RedisServer, directory: Path, seed: str) -> None:
        self.cluster = cluster
        self.network = network
        self.store = store
        self.chance = random.Random(seed)
        self.tally: Counter[str] = Counter()
        self.workers: list[Worker] = []
        self.sent: list[Published] = []
        """Messages published so far, in order."""
        directory.mkdir(parents=True)
        self.deployment = Deployment(cluster.address, store.url, directory, settings=SETTINGS)
        self._born: dict[Worker, float] = {}
        self._feed: LogPublisher | None = None
        self._plan = Plan(
            yesterday_ms(), seed=self.chance.randrange(1, 1_000_000), users=USERS, rate_per_s=1.2, chaos=True
        )
        self._messages = self._recorded(simulate(self._plan))

    # ------------------------------------------------------------------------------------------- its log

    def open(self) -> None:
        """Create topics and users, and start publishing."""
        self.deployment.create_topics()
        add_users(self.deployment, (f"u{n + 1}" for n in range(USERS)))
        self._publish_on()

    def _publish_on(self) -> None:
        self._feed = LogPublisher(self.deployment, self._messages, RATE, misroute_every=MISROUTE_EVERY)

    def go_on_with(self, partitions: int) -> None:
        """Let the round have so many partitions: also the publisher, which has published to the old ones until now."""
        assert self._feed is not None
        self._feed.stop()
        self.deployment = replace(self.deployment, partitions=partitions)
        self._publish_on()

    def _recorded(self, messages: Iterable[Published]) -> Iterator[Published]:
        for message in messages:
            self.sent.append(message)
            yield message

    def publish(self, messages: Iterable[Published]) -> None:
        """Publish further messages; returns when all are acknowledged."""
        LogPublisher(self.deployment, messages, 0).wait()

    def last_minutes(self, minutes: int) -> list[Published]:
        """The messages of the log's last minutes, by the time of their events, in the order of publishing."""
        since = self.sent[-1].at_ms - minutes * 60_000
        return [message for message in self.sent[:] if message.at_ms >= since]

    # --------------------------------------------------------------------------------------- its workers

    def start_worker(self, *, named: bool = True, launcher: Sequence[str] = (), far: bool = False) -> Worker:
        """Start a worker. ``far``: it reaches the brokers through the network that can be cut."""
        deployment = replace(self.deployment, broker=self.network.address) if far else self.deployment
        return self._add_worker(Worker(deployment, named=named, launcher=launcher))

    def replace(self, worker: Worker, launcher: Sequence[str] = ()) -> Worker:
        """Start a successor under the worker's name; SIGKILL ends the worker first, unless it has ended."""
        if not self.was_killed(worker) and worker.process.poll() is None:
            worker.kill()
            self.tally["kills"] += 1
        self.workers.remove(worker)
        return self._add_worker(Worker(self.deployment, replaces=worker, named=worker.named, launcher=launcher))

    def was_killed(self, worker: Worker) -> bool:
        """Whether SIGKILL has ended it. AssertionError if it ended by itself: that is a fault of the worker."""
        code = worker.process.poll()
        assert code in (None, 0, -signal.SIGKILL), f"it ended by itself, {code}: {worker.log_tail()}"
        return code == -signal.SIGKILL

    def stop_worker(self, worker: Worker) -> float:
        """End a worker with SIGTERM; returns the seconds that it took."""
        self.workers.remove(worker)
        self.tally["SIGTERMs"] += 1
        return worker.end()

    def kill_worker(self, worker: Worker) -> None:
        """Kill a worker with SIGKILL, without a successor."""
        self.workers.remove(worker)
        worker.kill()
        self.tally["kills"] += 1

    def drop_dead_worker(self, worker: Worker) -> None:
        """Forget a worker that has ended; kill it if it has not."""
        worker.kill()
        self.workers.remove(worker)

    def start_successor(self, worker: Worker) -> Worker:
        """Start another worker under the name of one that may still run."""
        return self._add_worker(Worker(self.deployment, replaces=worker, named=worker.named))

    def stop_and_expect_signal(self, worker: Worker) -> None:
        """Send SIGTERM to a worker that signals itself on its way out, and start a successor."""
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(PATIENCE_S)
        self.tally["kills" if self.was_killed(worker) else "aims missed"] += 1
        self.replace(worker)

    def _add_worker(self, worker: Worker) -> Worker:
        self.workers.append(worker)
        self._born[worker] = time.monotonic()
        return worker

    def age(self, worker: Worker) -> float:
        """Seconds since the worker was started."""
        return time.monotonic() - self._born[worker]

    def pause(self, shortest_s: float, longest_s: float) -> None:
        """Sleep for a random time, so that the next fault comes at a random moment."""
        time.sleep(self.chance.uniform(shortest_s, longest_s))

    def wait_ready_or_not(self, worker: Worker, limit_s: float = 8.0) -> None:
        """Wait until a worker is ready, has ended, or ``limit_s`` has passed."""
        deadline = time.monotonic() + limit_s
        while worker.why_not_settled() and worker.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def wait_settled(self, *without: Worker) -> None:
        """Wait until all workers but ``without`` have all partitions between them, restored and read to the end."""
        deadline = time.monotonic() + READY_S
        crew = [one for one in self.workers if one not in without]
        while why := self._unsettled(crew):
            assert time.monotonic() < deadline, f"after {READY_S:g} s: {why}"
            for worker in crew:
                assert worker.process.poll() is None, f"it ended: {worker.log_tail()}"
            time.sleep(POLL_S)

    def _unsettled(self, crew: Sequence[Worker]) -> str:
        for worker in crew:
            if why := worker.why_not_settled():
                return f"{worker.name}: {why}"
        held = sum(worker.metric("ecounters_partitions") for worker in crew)
        return (
            ""
            if held == self.deployment.partitions
            else f"{held:g} of {self.deployment.partitions} partitions are held"
        )

    # ------------------------------------------------------------------------------------------- its end

    def finish(self) -> RoundResult:
        """Stop publishing, wait until all is counted, and compare everything with the log."""
        assert self._feed is not None
        self._feed.stop()
        self.wait_settled()
        return audit_round(self.deployment, list(self.workers), self._only_restored_worker)

    def _only_restored_worker(self) -> Worker:
        """End all workers in order but one, kill that one, and return its successor, which restored everything."""
        for worker in self.workers[:-1]:
            worker.end()
        last = self.workers[-1]
        last.kill()
        return Worker(self.deployment, replaces=last, named=last.named).wait_ready(READY_S)

    def save_worker_states(self) -> None:
        """Write what the workers say of themselves beside their logs."""
        for worker in self.workers:
            with suppress(OSError, HTTPException):
                said = [worker.request("GET", path).body.decode() for path in ("/readyz", "/metrics")]
                said += [str(worker.ask({"userId": f"u{n + 1}", "token": TOKEN}).headers) for n in range(USERS)]
                worker.log.with_suffix(".said").write_text("\n".join(said))

    def close(self) -> None:
        """Kill all workers and remove the topics, whatever happened."""
        for worker in self.deployment.started:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGCONT)
        self.deployment.end_all()
        if self._feed is not None:
            with suppress(Exception):
                self._feed.stop()
        asyncio.run(self._drop_topics())

    async def _drop_topics(self) -> None:
        """Delete the round's topics: they would make the cluster slower for the next round."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.deployment.broker)
        await admin.start()
        try:
            known = await admin.list_topics()
            await admin.delete_topics([topic for topic in known if topic.startswith(self.deployment.name)])
        finally:
            await admin.close()
