"""Where a worker serves HTTP: on one port or two, with or without TLS and a path prefix, over IPv4, IPv6 or both."""

from __future__ import annotations

import errno
import socket
from typing import Final

from aiohttp import web

from ecounters.errors import Stop
from streams.settings.narrow import HttpSettings
from streams.web.api import Api
from streams.web.server import Runner
from streams.web.tls import ServerTls

LISTEN_BACKLOG: Final = 1_024
"""TCP connections that may wait to be accepted: all listeners of a worker that has ended reconnect at once."""
CLOSE_LIMIT_S: Final = 1.0
"""How long requests that are under way may take to end when the ports are closed."""
EVERY_ADDRESS: Final = "::"
"""The host that means every address of IPv6, and here of IPv4 too. asyncio would serve IPv6 alone."""


class Ports:
    """The ports of a worker: that of the API and, if there is one, that of health, metrics and documents.

    ``tls``: its certificate; None: it serves without TLS.
    """

    def __init__(self, api: Api, settings: HttpSettings, tls: ServerTls | None) -> None:
        self._settings = settings
        self._tls = tls
        apart = settings.admin_port > 0
        applications = [(settings.port, api.application(with_admin=not apart))]
        if apart:
            applications.append((settings.admin_port, api.admin_application()))
        self._runners = [
            (port, Runner(app, prefix=settings.path_prefix, handle_signals=False, shutdown_timeout=CLOSE_LIMIT_S))
            for port, app in applications
        ]

    async def open(self) -> None:
        """Serve health, metrics and documents, if they have a port of their own, and see whether the other one is free.

        Raises Stop if a port is in use, OSError if it cannot be listened on for another reason; then ``close`` too.
        """
        api, *apart = self._runners
        for port, runner in apart:
            await self._serve(port, runner)
        await (await self._serve(*api)).stop()

    async def open_api(self) -> None:
        """Serve the API. Raises Stop if another process listens there by now; then ``close`` too."""
        await self._serve(*self._runners[0])

    async def _serve(self, port: int, runner: Runner) -> web.BaseSite:
        """Serve on a port, and return where. Raises Stop if another process listens there, and OSError."""
        try:
            site = await self._site(port, runner)
            await site.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            another = "--port (ECOUNTERS_PORT)" if port == self._settings.port else "ECOUNTERS_ADMIN_PORT"
            raise Stop(f"port {port} is in use: give another {another}") from error
        return site

    async def _site(self, port: int, runner: Runner) -> web.BaseSite:
        """Where a runner serves, which is set up if it is not yet."""
        if runner.server is None:
            await runner.setup()
        context = self._tls.context if self._tls else None
        if self._settings.host == EVERY_ADDRESS and socket.has_dualstack_ipv6():
            both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return web.SockSite(runner, both, backlog=LISTEN_BACKLOG, ssl_context=context)
        return web.TCPSite(runner, self._settings.host, port, backlog=LISTEN_BACKLOG, ssl_context=context)

    async def close(self) -> None:
        """Close the ports and all connections."""
        for _, runner in self._runners:
            await runner.cleanup()
