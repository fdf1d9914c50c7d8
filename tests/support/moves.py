"""Questions and events while workers are restarted one after the other: what was answered, and when."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from streams.web.paths import COUNTERS_PATHS
from tests.support.accounts import TOKEN
from tests.support.builders import encoded
from tests.support.workers import Deployment, Worker

QUESTIONS_PER_S: Final = 20
CALLS_PER_S: Final = 50
LIMIT_S: Final = 10.0


def users_of(partitions: int) -> list[str]:
    """One user for each partition."""
    found: dict[int, str] = {}
    for user in map("u{}".format, itertools.count()):
        found.setdefault(partition_of(user, partitions), user)
        if len(found) == partitions:
            return [found[partition] for partition in sorted(found)]
    raise AssertionError


class Calls:
    """Publishes calls of all users in a thread, from its creation until ``stop``. ``count``: user -> how many."""

    def __init__(self, deployment: Deployment, users: Sequence[str]) -> None:
        self.count: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(deployment, users), daemon=True)
        self._thread.start()

    def _run(self, deployment: Deployment, users: Sequence[str]) -> None:
        try:
            asyncio.run(self._publish(deployment, users))
        except BaseException as error:
            self._error = error

    async def _publish(self, deployment: Deployment, users: Sequence[str]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, acks="all", linger_ms=5)
        await producer.start()
        try:
            began = time.monotonic()
            for at, user in enumerate(itertools.cycle(users)):
                if self._stopped.is_set():
                    break
                now_ms = int(time.time() * 1000)
                call = {"userId": user, "callId": f"c{at}"}
                started = {"type": "call.started", "id": f"s{at}", "ts": now_ms, "callType": "IBD", **call}
                ended = {"type": "call.ended", "id": f"e{at}", "ts": now_ms + 1, "status": 16, **call}
                partition = partition_of(user, deployment.partitions)
                for one in (started, ended):
                    await producer.send(deployment.name, encoded(one), key=user.encode(), partition=partition)
                self.count[user] += 1
                await asyncio.sleep(max(0.0, began + at / CALLS_PER_S - time.monotonic()))
            await producer.flush()
        finally:
            await producer.stop()

    def stop(self) -> None:
        """Publish no more; returns when all is acknowledged. Raises what the thread raised."""
        self._stopped.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


@dataclass
class Answers:
    """What the questions got. Times are of the monotonic clock."""

    statuses: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[float, str, str]] = field(default_factory=list)
    """(when, user, status or error) of each question that did not get 200."""
    went_back: list[tuple[float, str, int, int]] = field(default_factory=list)
    """(when, user, calls shown, calls shown before) of each answer that showed fewer calls than one before had."""
    longest_s: float = 0.0
    """The longest time for which a user had no answer: from a question to the next answer."""
    slowest: tuple[float, str, str] = (0.0, "", "")
    """(when, user, status) of the answer that ended it."""
    incomplete: int = 0
    """Answers that said that they were incomplete."""

    @property
    def asked(self) -> int:
        """How many questions there were."""
        return self.statuses.total()

    @property
    def not_200(self) -> int:
        """How many did not get 200."""
        return self.asked - self.statuses["200"]

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.asked:,} questions; {statuses}; {self.not_200} not 200; longest without an answer "
            f"{self.longest_s:.2f} s; {self.incomplete:,} incomplete; {len(self.went_back)} went back"
        )


class Asker:
    """Asks for the users in turn, QUESTIONS_PER_S in all, each at its own time, whether others have an answer or not.

    ``ports``: whom it asks, in turn. Another thread may set another list meanwhile.

    An answer counts as later than another only if its question was sent after the other had come.
    """

    def __init__(self, users: Sequence[str], *ports: int) -> None:
        self.answers = Answers()
        self._users = users
        self.ports = list(ports)
        self._turns = itertools.count()
        self._waiting_since: dict[str, float] = {}
        self._shown: dict[str, int] = defaultdict(int)
        self._stopped = threading.Event()

    def ask_while(self, happening: Callable[[], None], at_least: int = 0) -> Answers:
        """Ask until ``happening`` has ended, and at least so many questions."""

        async def both() -> None:
            running = asyncio.create_task(asyncio.to_thread(happening))
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(LIMIT_S)) as session:
                asking = set()
                began = time.monotonic()
                for at, user in enumerate(itertools.cycle(self._users)):
                    if running.done() and at >= at_least:
                        break
                    asking.add(task := asyncio.create_task(self._ask(session, user)))
                    task.add_done_callback(asking.discard)
                    await asyncio.sleep(max(0.0, began + at / QUESTIONS_PER_S - time.monotonic()))
                await asyncio.gather(*asking, running)

        asyncio.run(both())
        return self.answers

    async def _ask(self, session: aiohttp.ClientSession, user: str) -> None:
        answers, asked_s, before = self.answers, time.monotonic(), self._shown[user]
        body = json.dumps({"userId": user, "token": TOKEN, "filter": [{"field": "date", "value": "last7days"}]})
        self._waiting_since.setdefault(user, asked_s)
        shown = -1
        try:
            ports = self.ports
            url = f"http://127.0.0.1:{ports[next(self._turns) % len(ports)]}{COUNTERS_PATHS[0]}"
            async with session.post(url, data=body) as reply:
                content: Any = await reply.read()
                status = str(reply.status)
                if reply.status == 200:
                    shown = int(json.loads(content)["message"]["TC"])
                    answers.incomplete += reply.headers["X-Ecounters-Complete"] != "true"
        except (aiohttp.ClientError, OSError) as error:
            status = type(error).__name__
        now_s = time.monotonic()
        answers.statuses[status] += 1
        without_s = now_s - self._waiting_since.get(user, asked_s)
        if without_s > answers.longest_s:
            answers.longest_s, answers.slowest = without_s, (time.time(), user, status)
        if shown < 0:
            answers.failed.append((time.time(), user, status))
            return
        self._waiting_since.pop(user, None)
        if shown < before:
            answers.went_back.append((time.time(), user, shown, before))
        self._shown[user] = max(self._shown[user], shown)


def restart_in_turn(deployment: Deployment, workers: list[Worker], turns: Iterable[int]) -> None:
    """End one worker after the other with SIGTERM and start it again at the same port, when the others are ready."""
    for turn in turns:
        at = turn % len(workers)
        old = workers[at]
        old.end()
        workers[at] = Worker(deployment, replaces=old, port=old.port, named=old.named, launcher=old.launcher)
        for worker in workers:
            worker.wait_ready()
