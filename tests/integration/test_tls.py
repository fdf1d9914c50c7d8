"""Workers that serve HTTP over TLS with certificates of their own."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import signal
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from streams.web import server as serving
from streams.web.paths import STREAM_PATHS
from streams.web.tls import ServerTls
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.peers import SECRET, USERS
from tests.support.tls_proxy import make_certificate
from tests.support.workers import Deployment, Worker

SENT_BYTES = 600_000
BUSY_TIMES = 8

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes certificates, is missing")


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine's address, which is its own CA, and its key."""
    return make_certificate(folder, name, "-addext", "subjectAltName=IP:127.0.0.1")


def said(worker: Worker, text: str) -> bool:
    """Wait until the log of a worker has a text; False if it does not come."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if text in worker.log.read_text():
            return True
        time.sleep(0.02)
    return False


def served(worker: Worker) -> str:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", worker.port), timeout=5)


def test_workers_serve_and_ask_one_another_over_tls(deployment: Deployment, tmp_path: Path) -> None:
    """A worker that trusts the other's certificate gets replies from it, the other does not; the dashboard's cookie is
    a secure one. SIGHUP brings a new certificate and ends no connection; a wrong pair changes nothing."""
    add_users(deployment, USERS)
    (cert, key), (later, later_key) = pair(tmp_path, "first"), pair(tmp_path, "later")
    of_tls = {"TLS_CERT": cert, "TLS_KEY": key, "SECRET": SECRET}
    tls = ssl.create_default_context(cafile=str(cert))
    tls.load_verify_locations(later)
    trusting = deployment.with_settings(**of_tls, TLS_CA=cert)
    with Worker(trusting, tls=tls) as one, Worker(deployment.with_settings(**of_tls), tls=tls) as other:
        one.wait_ready()
        other.wait_ready()
        while {one.metric("ecounters_partitions"), other.metric("ecounters_partitions")} != {2.0}:
            time.sleep(0.05)
        replies = {user: (ask(one, user), ask(other, user)) for user in USERS}
        assert {status for status, _ in replies.values()} == {200}, one.log_tail()
        assert {status for _, status in replies.values()} == {200, 503}
        assert said(other, "gives no answer: ClientConnectorCertificateError")
        login = {"userId": "u0", "token": TOKEN}
        page = one.request("POST", "/dashboard/login", login, {"Content-Type": "application/json"})
        assert page.headers["Set-Cookie"].startswith("__Host-ecounters=") and "Secure" in page.headers["Set-Cookie"]
        mine = next(user for user in USERS if replies[user] == (200, 503))

        connection = http.client.HTTPSConnection("127.0.0.1", one.port, timeout=10, context=tls)
        connection.request("GET", f"{STREAM_PATHS[0]}?ssid={open_session(deployment, mine)}")
        stream = connection.getresponse()
        assert stream.status == 200 and served(one) == cert.read_text()
        shutil.copy(later, cert)
        shutil.copy(later_key, key)
        one.process.send_signal(signal.SIGHUP)
        assert said(one, "the certificate was read again") and served(one) == later.read_text()
        shutil.copy(pair(tmp_path, "third")[0], cert)
        one.process.send_signal(signal.SIGHUP)
        assert said(one, f"the one before stays: {key} is not the key of the certificate in {cert}")
        assert served(one) == later.read_text() and ask(one, mine) == 200
        statuses = 0
        while statuses < 3:  # one at once, then one every 5 s: after the signals
            statuses += stream.readline().startswith(b"event: status")
        connection.close()


def ask(worker: Worker, user: str) -> int:
    """The status of the reply to a user."""
    return worker.ask({"userId": user, "token": TOKEN}).status


def test_a_wrong_pair_ends_the_start_in_one_line(deployment: Deployment, tmp_path: Path) -> None:
    """With exit code 2 and the names of both settings; and so does one of the two alone."""
    (cert, _), (_, key) = pair(tmp_path, "first"), pair(tmp_path, "later")
    for settings in ({"TLS_CERT": cert, "TLS_KEY": key}, {"TLS_CERT": cert}, {"TLS_CERT": cert, "TLS_KEY": "none"}):
        with Worker(deployment.with_settings(**settings)) as worker:
            assert worker.process.wait(20) == 2
        last = worker.log.read_text().splitlines()[-1]
        assert "ECOUNTERS_TLS_CERT" in last and "ECOUNTERS_TLS_KEY" in last


def test_tls_passes_on_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has come while the loop was busy: the pieces of a body are parsed in one step each."""
    sizes: list[int] = []
    original = web.RequestHandler.data_received

    def noting(connection: web.RequestHandler, data: bytes) -> None:
        sizes.append(len(data))
        original(connection, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", noting)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=str(len(await request.read())).encode())

    async def run() -> bytes:
        app = web.Application(client_max_size=2 * SENT_BYTES)
        app.router.add_post("/", handler)
        runner = serving.Runner(app)
        await runner.setup()
        cert, key = pair(tmp_path, "first")
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ServerTls(str(cert), str(key)).context)
        await site.start()
        try:
            return await asyncio.to_thread(send, runner.addresses[0][1], cert)
        finally:
            await runner.cleanup()

    async def busy() -> bytes:
        sending = asyncio.create_task(run())
        for _ in range(BUSY_TIMES):
            keep_loop_busy()
            await asyncio.sleep(0.001)
        return await sending

    assert asyncio.run(busy()).endswith(str(SENT_BYTES).encode())
    assert max(sizes) <= serving.RECEIVED_BYTES_MAX and sum(sizes) > SENT_BYTES


def keep_loop_busy() -> None:
    """While the loop does something else, what a client sends gathers in the kernel."""
    time.sleep(0.1)


def send(port: int, cert: Path) -> bytes:
    """Send a large body as fast as the server takes it, and return the reply."""
    context = ssl.create_default_context(cafile=str(cert))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        headers = f"Host: x\r\nConnection: close\r\nContent-Length: {SENT_BYTES}"
        connection.sendall(f"POST / HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        connection.sendall(b"x" * SENT_BYTES)
        got = b""
        while more := connection.recv(65_536):
            got += more
        return got


def test_a_connection_whose_handshake_ends_in_a_server_that_closes_gets_no_reply(tmp_path: Path) -> None:
    """A proxy asks the next worker then. A handler would find no connections to Redis and other workers: 500."""
    cert, key = pair(tmp_path, "first")
    came, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=str(cert)).wrap_bio(came, sent, server_hostname="127.0.0.1")

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="late")

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Send what the client has to send; returns what comes then."""
        writer.write(sent.read())
        got = await reader.read(65_536)
        came.write(got)
        return got

    async def run() -> bytes:
        app = web.Application()
        app.router.add_get("/", handler)
        runner = serving.Runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ServerTls(str(cert), str(key)).context).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        assert await exchange(reader, writer)
        await runner.cleanup()
        client.do_handshake()
        client.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            async with asyncio.timeout(10):
                while await exchange(reader, writer):
                    with suppress(ssl.SSLWantReadError):
                        return client.read()
            raise AssertionError("the connection was cut off")
        finally:
            writer.close()
            await asyncio.sleep(0)

    assert asyncio.run(run()) == b""  # it says that it closes, and nothing before
