"""The comparison after a round: ``ecounters audit`` twice, and all dead letters.

The first audit asks the workers that lived through the round. Then all are ended in order but one, which is killed. Its
successor restores everything from the changelog; the second audit asks it for every window by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ecounters.recount.recount import Recount
from streams.access.accounts import Accounts
from streams.basics.terminal import Progress
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import LogRow, log_reader
from streams.settings.narrow import AuditSettings
from streams.tools.audit import Audit
from streams.tools.audit_report import Options, lines_of
from streams.tools.segments import lineage_of, recount_segments
from streams.tools.workers import REPLY_LIMIT_S, Workers
from tests.support.recount_check import dead_letters, expected_dead_letters
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

FLUSHED_LIMIT_S = 120.0


@dataclass(slots=True)
class RoundResult:
    """The findings of the comparison.

    ``fed``: events in the log. ``compared``: values. ``wrong``: a line for each difference.
    ``dead_letters``: those that are missing, too many or of another log.
    """

    fed: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)
    dead_letters: int = 0
    seconds: float = 0.0


class CountingAudit(Audit):
    """An audit that can be repeated with other workers, and counts the values that it compares."""

    compared = 0

    def ask_next(self, workers: Workers, options: Options) -> None:
        """Choose the workers and options of the next run."""
        self._workers, self._options = workers, options

    async def _compare(self, user_id: str, ssid: str, dates: dict[str, Any]) -> Any:
        look = await super()._compare(user_id, ssid, dates)
        self.compared += look.compared
        return look

    def recounts(self) -> list[Any]:
        """The recounts of all partitions, as far as the log was read."""
        return list(self._recounts)


def audit_round(deployment: Deployment, workers: Sequence[Worker], fresh: Callable[[], Worker]) -> RoundResult:
    """Wait until all is flushed, and compare. ``fresh``: ends the workers and returns one that restored everything."""
    began = time.monotonic()
    wait_until_flushed(deployment, FLUSHED_LIMIT_S)
    result = asyncio.run(_audit_round(deployment, workers, fresh))
    result.seconds = time.monotonic() - began
    return result


async def _audit_round(deployment: Deployment, workers: Sequence[Worker], fresh: Callable[[], Worker]) -> RoundResult:
    settings = deployment.loaded()
    accounts = Accounts.connect(settings)
    timeout = aiohttp.ClientTimeout(total=REPLY_LIMIT_S)
    result = RoundResult()
    try:
        async with (
            log_reader(Kafka.of(settings), settings.topic) as reader,
            aiohttp.ClientSession(timeout=timeout) as client,
        ):
            result.fed = sum(reader.ends.values())
            options = Options()
            narrow, progress = AuditSettings.of(settings), Progress("read")
            before: dict[int, Recount] = {}

            def read(recount: Recount, rows: list[LogRow]) -> None:
                before[id(recount)] = recount  # of a time with fewer partitions: their dead letters are expected too
                recount.read(rows)

            lineage = await lineage_of(settings)
            recounted = await recount_segments(settings, lineage, reader, narrow.limits, None, read)
            audit = CountingAudit(
                reader, Workers(client, [_url(one) for one in workers]), accounts, narrow, options, recounted, progress
            )
            result.wrong += _differences(await audit.run(), options)
            one, options = await asyncio.to_thread(fresh), Options(every_window=True)
            audit.ask_next(Workers(client, [_url(one)]), options)
            result.wrong += [f"restored: {line}" for line in _differences(await audit.run(), options)]
            result.compared = audit.compared
            recounts = [*before.values(), *audit.recounts()]
    finally:
        await accounts.close()
    written = Counter(await asyncio.to_thread(dead_letters, deployment))
    expected = Counter(await asyncio.to_thread(expected_dead_letters, deployment, recounts))
    result.dead_letters = ((written - expected) + (expected - written)).total()
    return result


def _url(worker: Worker) -> str:
    return f"http://127.0.0.1:{worker.port}"


def _differences(outcome: Any, options: Options) -> list[str]:
    """A line for each value that differs, and for each user that could not be asked."""
    assert outcome.users, "nobody was asked"
    return list(lines_of(outcome, options))[:-1]
