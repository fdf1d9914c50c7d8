"""One worker process: its setup, start, signals and end. ``streams.app`` builds what runs in it."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final, NoReturn

from aiokafka.errors import KafkaError

from ecounters.changelog.binding import EventsLog
from ecounters.errors import Stop
from streams.app import WorkerParts, build
from streams.basics.addresses import host_port
from streams.basics.collector import collect_in_short_steps, leave_out_what_is_there
from streams.basics.logs import LifeLines, set_up
from streams.basics.service_manager import ServiceManager
from streams.basics.tasks import end_tasks
from streams.basics.text import why_failed
from streams.kafka.clients import Kafka
from streams.kafka.first_look import FirstLook, first_look
from streams.kafka.internals import until_crashed
from streams.kafka.refusals import access_refused
from streams.metrics.loop_pauses import LoopPauses
from streams.settings.narrow import HttpSettings
from streams.settings.table import Settings
from streams.web.listening import Ports
from streams.web.tls import ServerTls

log = logging.getLogger(__name__)

STOP_LIMIT_S: Final = 4.5
"""How long Faust's app may take to stop; then the process exits at once. Events whose effect was not flushed by then
are read again. A worker takes ECOUNTERS_DRAIN_S, this and ECOUNTERS_HANDOVER_S to end, at most."""
END_S: Final = 2.0
"""What closing the ports takes besides, at most: a second for each."""
REBALANCE_END_LIMIT_S: Final = 2.0
"""How long of STOP_LIMIT_S a worker that is told to stop waits for the end of a rebalance that is under way.

If it stops amid a rebalance, Faust cancels the commit of the revoke, and the worker ends with a traceback and without
leaving the group: its partitions then wait for the session timeout.
"""
POLL_S: Final = 0.05
NEEDED_POLL_S: Final = 0.2
"""How often a worker that has left the group looks whether the others answer for its partitions."""
EXIT_CRASHED: Final = 70
"""Exit code after an unexpected error (EX_SOFTWARE of sysexits.h)."""
TOLD_TO_END: Final = "told to end: it answers for %g s more (ECOUNTERS_DRAIN_S); a second signal ends the wait"
"""The log's entry at the first signal: nothing else would be seen to happen for that time."""
BROKER_RETRY_S: Final = 2.0
"""Pause between two attempts to reach Kafka at the start."""
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Numbers of parameters of glibc's ``mallopt``, from malloc.h."""
MALLOC_LIMITS: Final = {M_MMAP_THRESHOLD: 8_388_608, M_TRIM_THRESHOLD: 16_777_216}
"""In bytes, see ``_set_malloc_limits``."""


def run_worker(settings: Settings) -> NoReturn:
    """Run until SIGTERM or SIGINT (exit code 0) or an unexpected error (EXIT_CRASHED); then end the process.

    Sets up the process first: logging, garbage collector, file limit, malloc. If the app does not stop within
    STOP_LIMIT_S, the process exits here. Raises Stop if topics, saved states or the port cannot be used, OSError if
    the host cannot; with logs as JSON it logs these and ends with the exit code. Any other error is logged.
    """
    set_up(settings.log_level, settings.log_format, settings.instance)
    faulthandler.enable()  # systemd's watchdog ends a worker whose loop hangs by SIGABRT: the log then says where
    collect_in_short_steps()
    _raise_open_file_limit()
    _set_malloc_limits()
    pauses = LoopPauses()
    try:
        with asyncio.Runner(loop_factory=pauses.new_loop) as runner:
            exit_code = runner.run(_run(settings, pauses))
    except (Stop, OSError) as error:
        if settings.log_format == "text":
            raise  # the command line prints it
        log.critical("%s", error)
        exit_code = _exit_code(error)
    except Exception as error:
        log.exception("ending: the worker could not go on")
        exit_code = _exit_code(error)
    _leave(exit_code)


def _exit_code(error: BaseException) -> int:
    """The exit code of a worker that this error ends; ``cli.main`` returns the same."""
    if isinstance(error, Stop):
        return error.exit_code
    return 1 if isinstance(error, OSError) else EXIT_CRASHED


def _leave(exit_code: int) -> NoReturn:
    """End the process as it is. The interpreter would free each account and call before: half a minute for 800,000."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)


def _raise_open_file_limit() -> None:
    """Raise the soft limit of open files, often 1,024, to the hard limit. Each push listener takes one open file."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS refuses an unlimited soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _set_malloc_limits() -> None:
    """Let glibc keep the memory of blocks of up to 8 MiB for the next ones, and give back that of larger ones.

    aiokafka copies what it fetches and sends through several blocks of 100 KiB to some MiB. With glibc's own threshold
    of 128 KiB each of them came from the system anew, page by page: 340,000 page faults for a million events; 150,000
    with a limit of 1 MiB; 60,000 with this one, and an event takes a twelfth less of the processor than with 1 MiB.
    Freed blocks stay between others for that: at its peak a worker has some 15 MiB more. If no limit is set, glibc
    raises its own up to 32 MiB. musl and macOS have no ``mallopt``.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, limit in MALLOC_LIMITS.items():
            mallopt(parameter, limit)


async def _run(settings: Settings, pauses: LoopPauses) -> int:
    """Run a worker, and tell the service manager meanwhile, if there is one. Returns the exit code."""
    manager = ServiceManager.of(os.environ)
    telling = asyncio.create_task(manager.keep_told())
    try:
        return await _serve(settings, pauses, manager)
    finally:
        await end_tasks(telling)
        manager.close()


async def _serve(settings: Settings, pauses: LoopPauses, manager: ServiceManager) -> int:
    """Wait for the topics, build the worker, serve HTTP and run the app. Returns the exit code.

    ``pauses`` are those of the running loop.
    """
    signals = _Signals()
    tls = ServerTls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
    if tls is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tls.reload)
    elif manager.address:  # `systemctl reload` must not end a worker without a certificate
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, log.info, "SIGHUP: there is no certificate to reload"
        )
    look = await _wait_for_look(settings, signals.stop)
    if look is None:
        return 0
    parts = build(settings, look.log, look.changelog_id)
    leave_out_what_is_there()
    ports = Ports(parts.api, HttpSettings.of(settings), tls)
    try:
        await ports.open()
        life = LifeLines(log, _facts(settings, look.log))
        life.started(f"{settings.scheme}://{host_port(settings.host, settings.port)}")
        pauses.take()  # those of the start are nobody's
        parts.metrics.loop_pause.set_function(pauses.take)
        return await _Life(parts, ports, signals, settings, life, manager).run()
    finally:
        await ports.close()
        await parts.redis.aclose()
        await parts.facts.close()


def _facts(settings: Settings, bound_to: EventsLog) -> dict[str, object]:
    """What the first and the last entry of the log say: the release, which worker this is, and what it is bound to."""
    return {
        "version": version("ecounters"),
        "instance": settings.instance,
        "app_id": settings.app_id,
        "cluster": bound_to.cluster,
        "topic": bound_to.topic,
        "topic_id": bound_to.topic_id or "unknown",
        "partitions": bound_to.partitions,
    }


class _Signals:
    """SIGTERM and SIGINT. ``stop`` is set by the first one, ``again`` by the second: it ends all waits."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.again = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, self._told)

    def _told(self) -> None:
        (self.again if self.stop.is_set() else self.stop).set()


async def _wait_for_look(settings: Settings, stop: asyncio.Event) -> FirstLook | None:
    """Look at topics and saved states, again and again while Kafka is away. Returns None if ``stop`` was set meanwhile.

    Raises Stop if topics or states must not be used, or if Kafka does not let this worker in. The group is not joined
    yet, and no transactional id is taken.
    """
    while not stop.is_set():
        try:
            look = await first_look(settings)
            for line in look.lines:
                log.log(logging.WARNING if ": warning: " in line else logging.INFO, "topic %s", line)
            return look
        except (KafkaError, OSError) as error:
            if refused := await access_refused(Kafka.of(settings)):
                raise refused from error
            log.warning("Kafka at %s cannot be used yet, trying again: %s", settings.broker, why_failed(error))
        try:
            async with asyncio.timeout(BROKER_RETRY_S):
                await stop.wait()
        except TimeoutError:
            pass
    return None


class _Life:
    """A worker from its start to its end.

        SIGTERM  | answers as before,  | flushes, leaves the group | answers from what it has, until the others have
                 | /readyz is 503      |                           | restored its partitions
                 | ECOUNTERS_DRAIN_S   | STOP_LIMIT_S              | ECOUNTERS_HANDOVER_S at most

    A second signal ends the first and the last wait.
    """

    def __init__(
        self,
        parts: WorkerParts,
        ports: Ports,
        signals: _Signals,
        settings: Settings,
        lines: LifeLines,
        manager: ServiceManager,
    ) -> None:
        self._parts = parts
        self._app: Any = parts.faust
        self._ports = ports
        self._signals = signals
        self._settings = settings
        self._lines = lines
        self._manager = manager

    async def run(self) -> int:
        """Run Faust's app until SIGTERM, SIGINT or a crash, then end in order. Returns the exit code.

        If the app does not stop within STOP_LIMIT_S, the process exits here. Raises the error of a start that fails,
        after the app was stopped and the end was logged.
        """
        parts = self._parts
        crash = asyncio.create_task(until_crashed(self._app))
        told = asyncio.create_task(self._signals.stop.wait())
        starting = asyncio.create_task(self._start())
        await asyncio.wait([crash, told, starting], return_when=asyncio.FIRST_COMPLETED)
        failure = starting.exception() if starting.done() else None
        if failure is None:
            await asyncio.wait([crash, told], return_when=asyncio.FIRST_COMPLETED)
            parts.health.stop()
            self._manager.stopping(self._settings.drain_s + STOP_LIMIT_S + self._settings.handover_s + END_S)
            if parts.table.joined.is_set():
                again = asyncio.create_task(self._signals.again.wait())
                drain_s = self._settings.drain_s
                if drain_s and not crash.done():
                    log.info(TOLD_TO_END, drain_s)
                await asyncio.wait([crash, again], timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
                again.cancel()
        crashed = crash.done() or failure is not None
        for task in (crash, told, starting):
            task.cancel()
        parts.streams.end()
        reason = failure or (self._app.crash_reason if crashed else None)
        exit_code = 0 if not crashed else EXIT_CRASHED if failure is None else _exit_code(failure)
        await self._stop(exit_code, reason)
        if not crashed:
            await self._answer_until_not_needed()
        self._lines.ended(exit_code, reason)
        if failure is not None:
            raise failure
        return exit_code

    async def _start(self) -> None:
        """Start Faust's app, and serve the API once the group is joined. Raises the first error of both.

        A proxy that asks nobody whether a worker is ready would send requests to one that knows no other worker yet.
        """
        joining = asyncio.create_task(self._parts.table.joined.wait())
        starting = asyncio.create_task(self._app.start())
        try:
            done, _ = await asyncio.wait([joining, starting], return_when=asyncio.FIRST_COMPLETED)
            if starting in done:
                starting.result()
            await joining
            await self._ports.open_api()
            self._manager.why_not_ready = self._parts.health.not_ready
            await starting
        finally:
            joining.cancel()
            starting.cancel()

    async def _stop(self, exit_code: int, reason: BaseException | None) -> None:
        """Stop Faust's app: flush, commit, leave the group. If that takes more than STOP_LIMIT_S, the process exits."""
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                if not exit_code:
                    await _until_no_rebalance(self._app)
                await self._app.stop()
        except TimeoutError:
            # Safe at any moment: a transaction that is not committed has no effect, and its events are read again.
            log.warning("the end took more than %s s; ending without it", STOP_LIMIT_S)
            self._lines.ended(exit_code, reason)
            _leave(exit_code)

    async def _answer_until_not_needed(self) -> None:
        """Answer from the states of before until the other workers have restored the partitions that this one had.

        Ends at once if there are no other workers that stay, after ECOUNTERS_HANDOVER_S, and at a second signal.
        """
        limit_s = self._settings.handover_s
        began = time.monotonic()
        while await self._parts.handover.is_needed() and not self._signals.again.is_set():
            if time.monotonic() - began >= limit_s:
                log.warning("after %s s the other workers have not restored all partitions; ending", limit_s)
                return
            await asyncio.sleep(NEEDED_POLL_S)


async def _until_no_rebalance(app: Any) -> None:
    """Wait for the end of a rebalance, if one is under way, but no longer than REBALANCE_END_LIMIT_S."""
    for _ in range(int(REBALANCE_END_LIMIT_S / POLL_S)):
        if not app.rebalancing:
            return
        await asyncio.sleep(POLL_S)
