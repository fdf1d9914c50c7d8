"""A reverse proxy with TLS before a worker, and a page of a subdomain that sets cookies for the whole domain."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from tests.support.workers import Worker

DOMAIN: Final = "app.example"
SUBDOMAIN: Final = f"sub.{DOMAIN}"
RESOLVER_RULES: Final = "MAP *.example 127.0.0.1"
"""For Chromium's --host-resolver-rules: both names lead to this machine."""
START_LIMIT_S: Final = 10.0
NOT_PASSED: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
"""Headers of a connection, which a proxy does not pass on."""


def make_certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate that nobody has signed, and its key: two files. Needs openssl. ``options``: more of its options."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", *options,
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed. Needs openssl."""
    cert, key = make_certificate(folder, DOMAIN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


class Proxy:
    """Answers for SUBDOMAIN with an empty page, and passes all other requests on to the worker.

    ``tls``: the context of its server; None for plain HTTP, without X-Forwarded-Proto. ``strips``: a path prefix that
    it takes off; other paths are nowhere. ``port``: where it listens.
    """

    def __init__(self, worker: Worker, tls: ssl.SSLContext | None, strips: str = "") -> None:
        self._strips = strips
        self._to = f"http://127.0.0.1:{worker.port}"
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self.port = 0

    def url(self, host: str, path: str) -> str:
        """A URL at this proxy."""
        return f"http{'s' if self._tls else ''}://{host}:{self.port}{path}"

    async def serve(self, ready: threading.Event, ended: asyncio.Event) -> None:
        """Serve until ``ended``."""
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._pass_on)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
            await site.start()
            self.port = runner.addresses[0][1]
            ready.set()
            await ended.wait()
            assert runner.server is not None
            for connection in runner.server.connections:  # the browser keeps them open
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if request.host.startswith(SUBDOMAIN):
            return web.Response(text="<!doctype html><title>another site</title>", content_type="text/html")
        assert self._session is not None
        if not request.path_qs.startswith(self._strips + "/"):
            raise web.HTTPNotFound
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED}
        if self._tls is not None:
            headers["X-Forwarded-Proto"] = "https"
        async with self._session.request(
            request.method,
            self._to + request.path_qs.removeprefix(self._strips),
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as reply:
            response = web.StreamResponse(status=reply.status)
            for name, value in reply.headers.items():
                if name.lower() not in NOT_PASSED:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for part in reply.content.iter_any():
                await response.write(part)
            return response


@contextmanager
def proxied(worker: Worker, tls: ssl.SSLContext | None, strips: str = "") -> Iterator[Proxy]:
    """A Proxy that serves in a thread of its own."""
    proxy, ready, loop, ended = Proxy(worker, tls, strips), threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.serve(ready, ended))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(START_LIMIT_S)
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
