"""One worker process: its setup, start, signals and end. ``streams.app`` builds what runs in it."""

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

from streams.app import WorkerParts, build
from streams.basics.text import one_line
from streams.kafka.first_look import FirstLook, first_look
from streams.kafka.internals import until_crashed
from streams.metrics.loop_pauses import LoopPauses
from streams.settings.table import Settings
from streams.web.server import Runner

log = logging.getLogger(__name__)

STOP_LIMIT_S: Final = 4.5
"""How long Faust's app may take to stop; then the process exits at once. Service managers often kill a process 5 s
after the signal. Events whose effect was not flushed by then are read again."""
REBALANCE_END_LIMIT_S: Final = 2.0
"""How long of STOP_LIMIT_S a worker that is told to stop waits for the end of a rebalance that is under way.

If it stops amid a rebalance, Faust cancels the commit of the revoke, and the worker ends with a traceback and without
leaving the group: its partitions then wait for the session timeout.
"""
POLL_S: Final = 0.05
EXIT_CRASHED: Final = 70
"""Exit code after an unexpected error (EX_SOFTWARE of sysexits.h)."""
BROKER_RETRY_S: Final = 2.0
"""Pause between two attempts to reach Kafka at the start."""
LISTEN_BACKLOG: Final = 1_024
"""TCP connections that may wait to be accepted: all listeners of a worker that has ended reconnect at once."""
MMAP_THRESHOLD_BYTES: Final = 131_072
"""glibc's default for M_MMAP_THRESHOLD; setting it keeps glibc from raising it (see ``_pin_malloc_threshold``)."""
M_MMAP_THRESHOLD: Final = -3
"""The parameter's number for ``mallopt``, from malloc.h."""
LOG_REPEAT_S: Final = 30.0
"""A library's message is logged once in this time at most."""
GC_THRESHOLDS: Final = (10_000, 1_000, 1_000)
"""Thresholds of the three generations. Calls and cells form no cycles, but Python's defaults would traverse all of
them many times a second. A traversal of 10,000 new objects takes 2 to 10 ms, in one step of the event loop; of 50,000
it took up to 38 ms. Each new object is traversed once, however many are traversed at a time."""


class RateLimitedLog(logging.Filter):
    """Drops a library's message if the same one was logged within LOG_REPEAT_S.

    While a broker is away, the libraries log 600 lines a minute. Two messages are the same if logger and format string
    are equal. Messages of libraries below WARNING also need the level DEBUG. Messages of this project always pass.
    Faust's services log under this project's names where this project subclasses them. These messages begin with "["
    and are treated as a library's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record. Notes the time of a library's record that passes."""
        if record.name.startswith("streams.") and not record.msg.startswith("["):
            return True
        if record.levelno < logging.WARNING and not logging.getLogger().isEnabledFor(logging.DEBUG):
            return False
        key = record.name, record.msg
        if record.created < self._next.get(key, 0.0):
            return False
        self._next[key] = record.created + LOG_REPEAT_S
        return True


def run_worker(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (returns 0) or an unexpected error (returns EXIT_CRASHED).

    Sets up the process first: logging, garbage collector, file limit, malloc. If the app does not stop within
    STOP_LIMIT_S, the process exits here. Raises Stop if topics or saved states cannot be used, OSError if the port
    cannot, and any error of the app's start.
    """
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RateLimitedLog())
    # At DEBUG aiokafka logs the bytes that it sends: the group's secret and the changelog are among them.
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, logging.getLogger().level))
    gc.set_threshold(*GC_THRESHOLDS)
    _raise_open_file_limit()
    _pin_malloc_threshold()
    pauses = LoopPauses()
    with asyncio.Runner(loop_factory=pauses.new_loop) as runner:
        return runner.run(_run(settings, pauses))


def _raise_open_file_limit() -> None:
    """Raise the soft limit of open files, often 1,024, to the hard limit. Each push listener takes one open file."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS refuses an unlimited soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _pin_malloc_threshold() -> None:
    """Make glibc return the memory of large blocks to the system, by fixing its mmap threshold at the default.

    Otherwise glibc raises the threshold whenever a large block is freed, and takes blocks below it from the heap, which
    fragments: a worker grew by a quarter over 2 million events. musl and macOS have no ``mallopt``, and no need of it.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


async def _run(settings: Settings, pauses: LoopPauses) -> int:
    """Wait for the topics, build the worker, serve HTTP and run the app. Returns the exit code.

    ``pauses`` are those of the running loop.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    look = await _wait_for_look(settings, stop)
    if look is None:
        return 0
    parts = build(settings, look.log, look.changelog_id)
    runner = Runner(parts.api.application(), handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=LISTEN_BACKLOG).start()
        log.info("serving on http://%s:%s", settings.host, settings.port)
        pauses.take()  # those of the start are nobody's
        parts.metrics.loop_pause.set_function(pauses.take)
        return await _serve(parts, stop)
    finally:
        await runner.cleanup()
        await parts.redis.aclose()
        await parts.facts.close()


async def _wait_for_look(settings: Settings, stop: asyncio.Event) -> FirstLook | None:
    """Look at topics and saved states, again and again while Kafka is away. Returns None if ``stop`` was set meanwhile.

    Raises Stop if topics or states must not be used. The group is not joined yet, and no transactional id is taken.
    """
    while not stop.is_set():
        try:
            look = await first_look(settings)
            for line in look.lines:
                log.log(logging.WARNING if ": warning: " in line else logging.INFO, "topic %s", line)
            return look
        except (KafkaError, OSError) as error:
            log.warning("Kafka at %s cannot be used yet, trying again: %s", settings.broker, one_line(error))
        try:
            async with asyncio.timeout(BROKER_RETRY_S):
                await stop.wait()
        except TimeoutError:
            pass
    return None


async def _serve(parts: WorkerParts, stop: asyncio.Event) -> int:
    """Run Faust's app until ``stop`` is set or the app crashes, then stop it and return the exit code.

    If the app does not stop within STOP_LIMIT_S, the process exits here. Raises the error of a start that fails.
    """
    app: Any = parts.faust
    ended = [asyncio.create_task(stop.wait()), asyncio.create_task(until_crashed(app))]
    starting = asyncio.create_task(app.start())
    done, _ = await asyncio.wait([*ended, starting], return_when=asyncio.FIRST_COMPLETED)
    if done == {starting}:
        starting.result()
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    crashed = not stop.is_set()
    for task in (*ended, starting):
        task.cancel()
    parts.streams.end()
    if crashed:
        log.error("ending: %r", app.crash_reason)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            if not crashed:
                await _until_no_rebalance(app)
            await app.stop()
    except TimeoutError:
        # Safe at any moment: a transaction that is not committed has no effect, and its events are read again.
        log.warning("the end took more than %s s; ending without it", STOP_LIMIT_S)
        logging.shutdown()
        os._exit(EXIT_CRASHED if crashed else 0)
    return EXIT_CRASHED if crashed else 0


async def _until_no_rebalance(app: Any) -> None:
    """Wait for the end of a rebalance, if one is under way, but no longer than REBALANCE_END_LIMIT_S."""
    for _ in range(int(REBALANCE_END_LIMIT_S / POLL_S)):
        if not app.rebalancing:
            return
        await asyncio.sleep(POLL_S)
