"""A worker to be attacked: publishing one attack, and looking at what became of it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any, Final

from streams.web.paths import METRICS_PATH
from tests.support.accounts import TOKEN
from tests.support.attacks.event_attack import ATTACKED, BEFORE_MS, EventAttack, Round
from tests.support.attacks.lots import Message, publish
from tests.support.builders import ALL_FIELDS, T0_MS
from tests.support.workers import Deployment, Worker

COUNTED_LIMIT_S: Final = 60.0
_REFUSED: Final = re.compile(r'^ecounters_events_refused_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)


class Scene:
    """A worker in a deployment."""

    def __init__(self, deployment: Deployment, worker: Worker) -> None:
        self.deployment = deployment
        self.worker = worker
        self._markers = count(1)

    @staticmethod
    def now_ms() -> int:
        """The present time in ms since the Unix epoch."""
        return int(time.time() * 1000)

    def publish(self, messages: Iterable[Message]) -> None:
        """Publish messages as fast as possible."""
        publish(self.deployment.broker, self.deployment.name, messages)

    def counters(self, user: str) -> dict[str, Any]:
        """All counters of a user."""
        reply = self.worker.ask({"userId": user, "token": TOKEN, "Field": list(ALL_FIELDS)})
        assert reply.status == 200, reply
        return dict(reply.json["message"])

    def wait_counted(self, user: str) -> dict[str, Any]:
        """Publish a balance, and wait until it is counted: all that was published before it is too then."""
        marker = next(self._markers)
        now_ms = self.now_ms()
        values = Round(user, now_ms, f"marker{marker}").encoded(_balance(user, marker))
        self.publish(Message(0.0, ATTACKED, user.encode(), value) for value in values)
        deadline = time.monotonic() + COUNTED_LIMIT_S
        while True:
            counters = self.counters(user)
            if counters["ucBl"] == marker:
                return counters
            assert time.monotonic() < deadline, (user, counters, self.worker.log_tail())
            time.sleep(0.02)

    def wait_caught_up(self) -> None:
        """Wait until all that was published to the worker's partitions is counted."""
        deadline = time.monotonic() + COUNTED_LIMIT_S
        while self.worker.metric("ecounters_partition_lag_seconds"):
            assert time.monotonic() < deadline, self.worker.log_tail()
            time.sleep(0.1)

    def refused(self) -> Counter[str]:
        """Reason -> dead letters so far."""
        text = self.worker.request("GET", METRICS_PATH).body.decode()
        return Counter({reason: int(float(number)) for reason, number in _REFUSED.findall(text)})

    def attack(self, attack: EventAttack) -> None:
        """Make one round of an attack by events, and assert what became of it: counters and dead letters."""
        user, before = attack.user, self.refused()
        self.publish(attack.made(Round(user, self.now_ms() - BEFORE_MS, "alone")))
        counters = self.wait_counted(user)
        found = {key: counters[key] for key in attack.counts if key != "ucBl"}
        wanted = {key: value for key, value in attack.counts.items() if key != "ucBl"}
        assert found == wanted, (attack.name, counters)
        assert self.refused() - before == Counter(attack.refused), attack.name


def _balance(user: str, amount: int) -> dict[str, Any]:
    return {"id": "b", "type": "balance.updated", "ts": T0_MS, "userId": user, "balance": amount}
