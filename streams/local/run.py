"""``ecounters run``: everything on one machine. Server, worker and simulator are child processes; this one minds them.

They are started one after the other and ended in the opposite order: on Ctrl-C, on SIGTERM, when the terminal is
closed, and when one of them ends by itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from ecounters.errors import Stop
from streams.access.accounts import Accounts
from streams.basics.addresses import host_port, local_url
from streams.basics.tasks import end_tasks
from streams.basics.terminal import Line
from streams.basics.text import one_line
from streams.basics.times import now_ms
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.local.children import Child, Guard
from streams.local.embedded import SERVER, STOP_LIMIT_S, Embedded, limit_event_retention
from streams.local.options import RunOptions
from streams.local.ports import is_free
from streams.local.screen import counters_line, welcome
from streams.local.simulated import (
    SIMULATED_BEFORE_MS,
    SIMULATED_RATE,
    SIMULATED_USERS,
    USER,
    holds_events,
    restart_switches,
)
from streams.settings.table import PREFIX, SETTINGS, Settings
from streams.web.paths import COUNTERS_PATHS, READY_PATH

SIMULATOR: Final = "simulator"
WORKER: Final = "worker"
END_LIMITS_S: Final = {SIMULATOR: 3.0, WORKER: 8.0, SERVER: STOP_LIMIT_S}
"""A worker needs 5 s at most to save; killed, it loses nothing that it would not read again."""

PORTS_TRIED: Final = 100
LOOK_S: Final = 0.2
ASK_LIMIT_S: Final = 3.0
TTY_S: Final = 1.0


def run_all(options: RunOptions) -> int:
    """Run until Ctrl-C or SIGTERM (0), or until a child ends by itself (1). Stop if it cannot be started."""
    with _claimed(options.settings.data_dir) as lock, Guard() as guard:
        return asyncio.run(_Run(options, lock, guard).until_stopped())


@contextmanager
def _claimed(data_dir: Path) -> Iterator[int]:
    """The data directory, for this run alone; a descriptor that keeps it so while anyone has it open."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Stop(
                f"{data_dir} is in use by another `ecounters run` (process {path.read_text().strip() or 'unknown'}): "
                "end that one with Ctrl-C, or give this one another --data-dir"
            ) from None
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield lock
    finally:
        os.close(lock)


class _ChildEnded(Exception):
    """A child is gone that was not told to."""

    def __init__(self, child: Child) -> None:
        super().__init__(child.name)
        self.child = child


class _Run:
    """One run. ``until_stopped`` is all there is to call."""

    def __init__(self, options: RunOptions, lock: int, guard: Guard) -> None:
        self._options = options
        self._settings = options.settings
        self._lock = lock
        self._guard = guard
        self._children: list[Child] = []
        self._line = Line()

    async def until_stopped(self) -> int:
        """Start everything, show what happens, end everything; the exit code."""
        stop = asyncio.Event()
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN:  # which is what nohup does
                asyncio.get_running_loop().add_signal_handler(one, stop.set)
        work, watch = asyncio.create_task(self._work()), asyncio.create_task(self._watch())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, watch, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set() and work.done() and not isinstance(work.exception(), Stop):
                # What it failed at may be the first sign of a child's end, which then is the better explanation.
                await asyncio.wait([watch], timeout=2 * LOOK_S)
            if not stop.is_set():
                (watch if watch.done() else work).result()
            return 0
        except _ChildEnded as ended:
            self._line.end()
            self._tell_of(ended.child)
            return 1
        except (KafkaError, RedisError) as error:
            raise Stop(f"the embedded server: {one_line(error)}") from error
        finally:
            await end_tasks(work, watch, stopped)
            await asyncio.gather(work, watch, stopped, return_exceptions=True)  # what they failed at has been told
            await self._end()

    async def _watch(self) -> None:
        while True:
            for child in self._children:
                if child.exit_code is not None:
                    raise _ChildEnded(child)
            await asyncio.sleep(LOOK_S)

    def _tell_of(self, child: Child) -> None:
        code = child.exit_code or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"
        with suppress(OSError):
            lines = "".join(f"    {line}\n" for line in child.last_lines())
            print(f"ecounters: the {child.name} {how}. The last of {child.log}:\n{lines}", end="", file=sys.stderr)

    async def _end(self) -> None:
        """End the children, the last one started first. Whatever happens to the terminal, they are ended."""
        self._line.end()
        for child in reversed(self._children):
            was, limit_s = child.exit_code, END_LIMITS_S[child.name]
            if was is None:
                self._line.show(f"ending the {child.name} ...", now=True)
                began = time.monotonic()
                await asyncio.to_thread(child.end, limit_s)
                if time.monotonic() - began >= limit_s:
                    self._line.say(f"The {child.name} took more than {limit_s:g} s to end, and was killed.")
            self._guard.release(child)
        if self._children:
            self._line.say(f"Ended. The data is in {self._settings.data_dir}, for the next time.")

    # ------------------------------------------------------------------------------------------ starting

    async def _work(self) -> None:
        await self._show(await self._start())

    async def _start(self) -> str:
        """Start everything and say what is where; the user's token."""
        await self._start_server()
        settings = self._settings
        await ensure_topics(settings.broker, TopicsSpec.of(settings))
        await limit_event_retention(settings)
        token = await self._user()
        self._settings = settings = self._with_free_port(settings)
        self._start_child(WORKER, "worker")
        await self._until_ready()
        if self._options.simulate:
            await self._simulate()
        self._line.say(welcome(settings, self._url, token, self._options.simulate))
        return token

    async def _start_server(self) -> None:
        port, data_dir = self._options.broker_port, self._settings.data_dir
        if port and not is_free(port):
            raise Stop(f"port {port} is in use already: give another --broker-port, or none for any that is free")
        self._line.show("starting broker and store ...", now=True)
        # It inherits the lock: as long as it lives, even without this process, nobody else gets at its data.
        server = Embedded.launch(data_dir / "store", port, log=data_dir / "log" / "server.log", held=[self._lock])
        self._mind(server.child)
        await asyncio.to_thread(server.wait)
        self._settings = dataclasses.replace(self._settings, broker=server.broker, redis=server.redis_url)

    def _mind(self, child: Child) -> None:
        self._guard.watch(child)
        self._children.append(child)

    def _start_child(self, name: str, *command: str) -> None:
        log = self._options.settings.data_dir / "log" / f"{name}.log"
        line = [sys.executable, "-m", "streams.cli", *command]
        # The embedded broker never takes a dead worker for dead; one with its name need not wait for that.
        env = environment(self._settings) | {f"{PREFIX}INSTANCE_ID": name}
        self._mind(Child(name, line, log, env=env))

    async def _user(self) -> str:
        """Add the user if it is not there; a new token for it, as the old one cannot be known."""
        accounts = Accounts.connect(self._settings.redis)
        try:
            if USER in [user.user_id for user in await accounts.list_users()]:
                return await accounts.new_token(USER)
            return await accounts.add_user(USER, str(self._settings.zone))
        finally:
            await accounts.close()

    def _with_free_port(self, settings: Settings) -> Settings:
        wanted = settings.port
        for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
            if is_free(port, settings.host):
                if port != wanted:
                    self._line.say(f"Port {wanted} is in use; serving on {port} instead.")
                return on_port(settings, port)
        raise Stop(f"port {wanted} and those after it are in use: give another --port")

    async def _until_ready(self) -> None:
        began = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_LIMIT_S)) as session:
            while True:
                why = await _not_ready(session, self._url + READY_PATH)
                if why is None:
                    return
                self._line.show(f"waiting for the worker, {time.monotonic() - began:.0f} s: {why}")
                await asyncio.sleep(LOOK_S)

    @property
    def _url(self) -> str:
        return local_url(self._settings.host, self._settings.port)

    async def _simulate(self) -> None:
        """Start the switches: the first time some hours ago, later from now on, as time must not go backwards."""
        at_ms = now_ms()
        start_ms = at_ms - SIMULATED_BEFORE_MS
        if await holds_events(self._settings):
            start_ms = at_ms
            await restart_switches(self._settings, at_ms)
        # Another seed each time: with the same one, every run would have the same calls at another hour.
        options = {"rate": SIMULATED_RATE, "users": SIMULATED_USERS, "start": start_ms, "seed": start_ms}
        self._start_child(SIMULATOR, "simulate", *(f"--{name}={value}" for name, value in options.items()))

    # ------------------------------------------------------------------------------------------- showing

    async def _show(self, token: str) -> None:
        """Keep one line up to date, until cancelled."""
        body = {"userId": USER, "token": token}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_LIMIT_S)) as session:
            while True:
                try:
                    async with session.post(self._url + COUNTERS_PATHS[0], json=body) as response:
                        answer = await response.json()
                        self._line.show(counters_line(answer, response.headers.get("X-Ecounters-Lag-Ms", "0")))
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    self._line.show(f"no answer: {type(error).__name__}")
                await asyncio.sleep(TTY_S)


# ---------------------------------------------------------------------------------------------- what it needs


def on_port(settings: Settings, port: int) -> Settings:
    """The settings with another port; an address for other workers that followed from the old one is left to follow."""
    derived = settings.advertise == host_port(settings.host, settings.port)
    return dataclasses.replace(settings, port=port, advertise="" if derived else settings.advertise)


def environment(settings: Settings) -> dict[str, str]:
    """For a child: the environment, and every setting as it is here."""
    return {**os.environ, **{row.env: str(getattr(settings, row.field)) for row in SETTINGS}}


async def _not_ready(session: aiohttp.ClientSession, url: str) -> str | None:
    """Why the worker is not ready; None: it is."""
    try:
        async with session.get(url) as response:
            if response.status == 200:
                return None
            return str((await response.json()).get("message"))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return "it does not serve yet"
