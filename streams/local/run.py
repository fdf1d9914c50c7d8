"""``ecounters run``: the embedded server, a worker and a simulator, as child processes of this process.

They are started in this order and ended in the opposite order: on Ctrl-C, on SIGTERM, when the terminal is closed
(SIGHUP), and when one of them ends by itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from ecounters.errors import Stop
from streams.access.accounts import Accounts
from streams.basics.addresses import host_port, local_url
from streams.basics.tasks import end_tasks
from streams.basics.terminal import Line
from streams.basics.text import one_line
from streams.kafka.clients import Kafka
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.local.children import Child, Guard
from streams.local.data_lock import locked
from streams.local.embedded import SERVER, STOP_LIMIT_S, Embedded, limit_event_retention
from streams.local.options import RunOptions
from streams.local.ports import is_free
from streams.local.screen import counters_line, welcome
from streams.local.simulated import USER, prepare_simulator
from streams.settings.load import FILE_SUFFIX
from streams.settings.table import PREFIX, SETTINGS, Settings
from streams.web.paths import COUNTERS_PATHS, READY_PATH

SIMULATOR: Final = "simulator"
WORKER: Final = "worker"
END_LIMITS_S: Final = {SIMULATOR: 3.0, WORKER: 8.0, SERVER: STOP_LIMIT_S}
"""How long each child may take to end after SIGTERM; then it is killed. A worker needs up to 5 s for its last flush. A
worker that is killed before loses nothing, because the next worker reads the events again."""

PORTS_TRIED: Final = 100
"""So many ports from ECOUNTERS_PORT on are tried; the first free one is used."""
POLL_S: Final = 0.2
"""Pause between two checks of the children, and between two requests to a worker that starts."""
REQUEST_LIMIT_S: Final = 3.0
"""Timeout of a request to the worker."""
REFRESH_S: Final = 1.0
"""Pause between two queries of the counters for the line on the screen."""


def run_all(options: RunOptions) -> int:
    """Run server, worker and simulator until they are stopped, and return the exit code.

    Returns 0 after a signal (SIGINT, SIGTERM or SIGHUP), and 1 if a child ended by itself; then the last lines of its
    log are on stderr. Raises Stop if the data directory is in use, if the server cannot be started, if no port is free,
    or if the server fails a request of this process.
    """
    with locked(options.settings.data_dir) as lock, Guard() as guard:
        return asyncio.run(_Run(options, lock, guard).until_stopped())


class _ChildEnded(Exception):
    """A child ended by itself."""

    def __init__(self, child: Child) -> None:
        super().__init__(child.name)
        self.child = child


class _Run:
    """One ``ecounters run``. The worker serves all on one port and without TLS, at the URL that is printed.

    ``lock``: descriptor of the locked data directory; ``guard`` watches every child.
    """

    def __init__(self, options: RunOptions, lock: int, guard: Guard) -> None:
        self._options = options
        self._settings = dataclasses.replace(options.settings, admin_port=0, tls_cert="", tls_key="")
        self._lock = lock
        self._guard = guard
        self._children: list[Child] = []
        self._line = Line()

    async def until_stopped(self) -> int:
        """Start everything, show the counters, and end everything. Returns and raises as ``run_all``."""
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup SIGHUP is ignored, and must stay ignored.
            if signum is not signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        work, watch = asyncio.create_task(self._start_and_show()), asyncio.create_task(self._until_child_ends())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, watch, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set() and work.done() and not isinstance(work.exception(), Stop):
                # The failure may be the consequence of a child's end, which explains it better. Give ``watch`` the time
                # to notice such an end.
                await asyncio.wait([watch], timeout=2 * POLL_S)
            if not stop.is_set():
                (watch if watch.done() else work).result()
            return 0
        except _ChildEnded as ended:
            self._line.end()
            self._print_end_of(ended.child)
            return 1
        except (KafkaError, RedisError) as error:
            raise Stop(f"the embedded server: {one_line(error)}") from error
        finally:
            await end_tasks(work, watch, stopped)
            await asyncio.gather(work, watch, stopped, return_exceptions=True)  # their errors are reported above
            await self._end_children()

    async def _until_child_ends(self) -> None:
        """Check all children every POLL_S, and raise _ChildEnded when one has ended."""
        while True:
            for child in self._children:
                if child.exit_code is not None:
                    raise _ChildEnded(child)
            await asyncio.sleep(POLL_S)

    def _print_end_of(self, child: Child) -> None:
        """Print on stderr how a child ended, with the last lines of its log; nothing if the log cannot be read."""
        code = child.exit_code or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"
        with suppress(OSError):
            lines = "".join(f"    {line}\n" for line in child.last_lines())
            print(f"ecounters: the {child.name} {how}. The last of {child.log}:\n{lines}", end="", file=sys.stderr)

    async def _end_children(self) -> None:
        """End the children, the last one started first. Kill a child that takes longer than its END_LIMITS_S."""
        self._line.end()
        for child in reversed(self._children):
            limit_s = END_LIMITS_S[child.name]
            if child.exit_code is None:
                self._line.show(f"ending the {child.name} ...", now=True)
                began = time.monotonic()
                await asyncio.to_thread(child.end, limit_s)
                if time.monotonic() - began >= limit_s:
                    self._line.say(f"The {child.name} took more than {limit_s:g} s to end, and was killed.")
            self._guard.release(child)
        if self._children:
            self._line.say(f"Ended. The data is in {self._settings.data_dir}, for the next time.")

    # ------------------------------------------------------------------------------------------ starting

    async def _start_and_show(self) -> None:
        await self._show_counters(await self._start())

    async def _start(self) -> str:
        """Start server, worker and simulator, print how to use them, and return the token of USER.

        The worker starts when the topics and USER exist, the simulator when the worker is ready.
        """
        await self._start_server()
        settings = self._settings
        await ensure_topics(Kafka.of(settings), TopicsSpec.of(settings))
        await limit_event_retention(settings)
        token = await self._new_token()
        self._settings = settings = self._with_free_port(settings)
        self._start_child(WORKER, "worker")
        await self._until_ready()
        if self._options.simulate:
            self._start_child(SIMULATOR, "simulate", *await prepare_simulator(settings))
        self._line.say(welcome(settings, self._url, token, self._options.simulate))
        return token

    async def _start_server(self) -> None:
        """Start the embedded server, wait until it serves, and put its addresses into the settings.

        Raises Stop if the port of --broker-port is in use, if the server is not installed, or if it does not serve.
        """
        port, data_dir = self._options.broker_port, self._settings.data_dir
        if port and not is_free(port):
            raise Stop(f"port {port} is in use already: give another --broker-port, or none for any that is free")
        self._line.show("starting broker and store ...", now=True)
        # The server inherits the lock. If this process is killed, the data stays locked until the server has ended.
        log = data_dir / "log" / "server.log"
        server = Embedded.launch(data_dir / "store", port, log=log, inherited_fds=[self._lock])
        self._add_child(server.child)
        await asyncio.to_thread(server.wait)
        self._settings = embedded_settings(self._settings, server.broker, server.redis_url)

    def _add_child(self, child: Child) -> None:
        """Register a child: the guard ends it if this process is killed, ``_end_children`` in any other case."""
        self._guard.watch(child)
        self._children.append(child)

    def _start_child(self, name: str, *arguments: str) -> None:
        """Start ``ecounters`` with these arguments as a child, with the settings of this run.

        ``name``: a key of END_LIMITS_S. It is also the name of the log file and the child's instance id.
        """
        log = self._settings.data_dir / "log" / f"{name}.log"
        command = [sys.executable, "-m", "streams.cli", *arguments]
        # The embedded broker never removes a dead worker from its group. A new worker with the same instance id
        # replaces the dead one at once.
        env = environment(self._settings) | {f"{PREFIX}INSTANCE_ID": name, f"{PREFIX}DRAIN_S": "0"}
        self._add_child(Child(name, command, log, env=env))

    async def _new_token(self) -> str:
        """Make a new token of USER, and add USER if there is none. The token of an earlier run is no longer valid.

        The earlier token cannot be used again, because Redis holds only its hash.
        """
        accounts = Accounts.connect(self._settings)
        try:
            if USER in [info.user_id for info in await accounts.list_users()]:
                return await accounts.new_token(USER)
            return await accounts.add_user(USER, str(self._settings.zone))
        finally:
            await accounts.close()

    def _with_free_port(self, settings: Settings) -> Settings:
        """The settings with the first free port from ``settings.port`` on. Prints the port if it is another one.

        Raises Stop if PORTS_TRIED ports are in use.
        """
        wanted = settings.port
        for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
            if is_free(port, settings.host):
                if port != wanted:
                    self._line.say(f"Port {wanted} is in use; serving on {port} instead.")
                return on_port(settings, port)
        raise Stop(f"port {wanted} and those after it are in use: give another --port")

    async def _until_ready(self) -> None:
        """Wait until the worker is ready, without a time limit, and show why it is not ready yet."""
        began = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)) as session:
            while True:
                why = await _why_not_ready(session, self._url + READY_PATH)
                if why is None:
                    return
                self._line.show(f"waiting for the worker, {time.monotonic() - began:.0f} s: {why}")
                await asyncio.sleep(POLL_S)

    @property
    def _url(self) -> str:
        return local_url(self._settings.host, self._settings.port)

    # ------------------------------------------------------------------------------------------- showing

    async def _show_counters(self, token: str) -> None:
        """Query the counters of USER every REFRESH_S and show them in one line, until cancelled."""
        body = {"userId": USER, "token": token}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)) as session:
            while True:
                try:
                    async with session.post(self._url + COUNTERS_PATHS[0], json=body) as response:
                        reply = await response.json()
                        self._line.show(counters_line(reply, response.headers.get("X-Ecounters-Lag-Ms", "0")))
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    self._line.show(f"no answer: {type(error).__name__}")
                await asyncio.sleep(REFRESH_S)


def on_port(settings: Settings, port: int) -> Settings:
    """The settings with another port.

    If ``advertise`` is the old host and port, it is emptied, so that the worker derives it from the new port.
    """
    derived = settings.advertise == host_port(settings.host, settings.port)
    return dataclasses.replace(settings, port=port, advertise="" if derived else settings.advertise)


def embedded_settings(settings: Settings, broker: str, redis: str) -> Settings:
    """The settings for this broker and store, which want neither TLS nor a log-in, whatever those of others want."""
    access = [field for field in dataclasses.fields(Settings) if field.name.startswith("kafka_")]
    plain: dict[str, Any] = {field.name: field.default for field in access}
    return dataclasses.replace(settings, broker=broker, redis=redis, redis_ca="", **plain)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child: this process's environment, and every setting as a variable, secrets too.

    Variables that name files with secrets are left out: a secret must not be given twice.
    """
    inherited = {
        name: text for name, text in os.environ.items() if not (name.startswith(PREFIX) and name.endswith(FILE_SUFFIX))
    }
    return inherited | {row.env: str(getattr(settings, row.field)) for row in SETTINGS}


async def _why_not_ready(session: aiohttp.ClientSession, url: str) -> str | None:
    """Request ``url``, the worker's ``/readyz``. Returns why the worker is not ready; None if it is ready."""
    try:
        async with session.get(url) as response:
            if response.status == 200:
                return None
            return str((await response.json()).get("message"))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return "it does not serve yet"
