"""One worker process, from its start to its end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from aiokafka.errors import KafkaError

from streams.app import Engine, build
from streams.basics.text import one_line
from streams.kafka.internals import until_crashed
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.settings.table import Settings
from streams.web.server import Runner

log = logging.getLogger(__name__)

STOP_LIMIT_S: Final = 4.5
"""For an orderly end; whoever sent the signal waits 5 s. What could not be saved by then is read again."""
CRASHED: Final = 70
"""Exit code: something happened that must not (EX_SOFTWARE)."""
TRY_AGAIN_S: Final = 2.0
LISTEN_BACKLOG: Final = 1_024
"""Connections that wait to be taken: all listeners of a worker that has ended come at once."""
MMAP_THRESHOLD_BYTES: Final = 131_072
"""glibc's own default, which stays only if it is set. Without it a worker grew by a quarter over 2 million events."""
_M_MMAP_THRESHOLD: Final = -3
SELDOM_S: Final = 30.0
GC_THRESHOLDS: Final = (50_000, 200, 1_000)
"""Calls and cells are not cyclic; Python's defaults look through all of them many times a second. What is new is
looked through at once, which takes 10 ms for so much; with less, records that are on their way come in again and
again."""


class RateLimitedLog(logging.Filter):
    """Lets what the libraries say through once in a while: a broker's absence is worth 600 lines a minute to them."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show the line."""
        if record.name.startswith("streams.") and not record.msg.startswith("["):
            return True
        if record.levelno < logging.WARNING and not logging.getLogger().isEnabledFor(logging.DEBUG):
            return False
        key = record.name, record.msg
        if record.created < self._next.get(key, 0.0):
            return False
        self._next[key] = record.created + SELDOM_S
        return True


def run_worker(settings: Settings) -> int:
    """Run until a signal comes or something breaks; the exit code."""
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RateLimitedLog())
    # Below that it writes out what it sends: the group's secret and the changelog.
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, logging.getLogger().level))
    gc.set_threshold(*GC_THRESHOLDS)
    _raise_open_file_limit()
    _pin_malloc_threshold()
    return asyncio.run(_run(settings))


def _raise_open_file_limit() -> None:
    """As many open files as may be: each listener is one, and the limit that most systems begin with is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS takes no "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _pin_malloc_threshold() -> None:
    """Keep glibc from keeping what batches took: it would raise that limit with each large block that is freed.

    Elsewhere (musl, macOS) there is no such call, and no need.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    partitions = await _topics(settings, stop)
    if partitions is None:
        return 0
    engine = build(settings, partitions)
    runner = Runner(engine.api.application(), handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=LISTEN_BACKLOG).start()
        log.info("serving on http://%s:%s", settings.host, settings.port)
        return await _serve(engine, stop)
    finally:
        await runner.cleanup()
        await engine.redis.aclose()


async def _topics(settings: Settings, stop: asyncio.Event) -> int | None:
    """See to the topics, however long the broker is away; how many partitions there are. None: told to stop."""
    while not stop.is_set():
        try:
            topics = await ensure_topics(settings.broker, TopicsSpec.of(settings))
            for line in topics.lines:
                log.info("topic %s", line)
            return topics.partitions
        except (KafkaError, OSError) as error:
            log.warning("Kafka at %s cannot be used yet, trying again: %s", settings.broker, one_line(error))
        try:
            async with asyncio.timeout(TRY_AGAIN_S):
                await stop.wait()
        except TimeoutError:
            pass
    return None


async def _serve(engine: Engine, stop: asyncio.Event) -> int:
    """Run Faust's app until it is told to stop, or crashes."""
    app: Any = engine.faust
    ended = [asyncio.create_task(stop.wait()), asyncio.create_task(until_crashed(app))]
    starting = asyncio.create_task(app.start())
    done, _ = await asyncio.wait([*ended, starting], return_when=asyncio.FIRST_COMPLETED)
    if done == {starting}:
        starting.result()
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    crashed = not stop.is_set()
    for task in (*ended, starting):
        task.cancel()
    engine.streams.end()
    if crashed:
        log.error("ending: %r", app.crash_reason)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await app.stop()
    except TimeoutError:
        # The changelog is whole at every moment; there is nothing left that must be waited for.
        log.warning("the end took more than %s s; ending without it", STOP_LIMIT_S)
        logging.shutdown()
        os._exit(CRASHED if crashed else 0)
    return CRASHED if crashed else 0
