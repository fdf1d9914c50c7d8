"""TLS contexts of clients, against a real server."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from streams.basics import tls
from streams.basics.tls import RenewedContext, client_context
from tests.support.certificates import Authority


def test_a_certificate_that_was_replaced_is_shown_by_the_next_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a new authority is trusted, in the context of a client that lives for long. With half of a pair the one
    before stays."""
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    authority, later = Authority(tmp_path / "first"), Authority(tmp_path / "later")
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    shutil.copy(authority.ca, ca)
    for source, to in zip(authority.signed("before"), (cert, key), strict=True):
        shutil.copy(source, to)
    context = client_context(str(ca), str(cert), str(key))
    assert asyncio.run(shown(context, authority)) == "before"
    new_cert, new_key = authority.signed("after")
    shutil.copy(new_cert, cert)
    assert asyncio.run(shown(context, authority)) == "before"
    assert "those before stay" in caplog.text and "is not the key of the certificate" in caplog.text
    shutil.copy(new_key, key)
    assert asyncio.run(shown(context, authority)) == "after"
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(shown(context, later))
    shutil.copy(later.ca, ca)
    for source, to in zip(later.signed("again"), (cert, key), strict=True):
        shutil.copy(source, to)
    assert asyncio.run(shown(context, later)) == "again"


def test_the_files_are_looked_at_once_in_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections begin: each look is one request of the disk, in the event loop."""
    times_s, looks = [0.0], 0
    look = RenewedContext._look

    def counted(context: RenewedContext) -> list[tuple[int, int, int]]:
        nonlocal looks
        looks += 1
        return look(context)

    monkeypatch.setattr(RenewedContext, "_look", counted)
    monkeypatch.setattr(tls, "monotonic", lambda: times_s[-1])
    context = client_context(str(Authority(tmp_path).ca))
    for now_s in (1.0, 1.9, 2.0, 2.1, 3.9, 4.0):
        times_s.append(now_s)
        for _ in range(10):
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    assert looks == 3  # when it is made, at 2 s, and at 4 s


async def shown(context: ssl.SSLContext, authority: Authority) -> str:
    """Connect to a server that wants a certificate, and return the name in the one that it is shown."""
    wanting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca))
    wanting.load_cert_chain(*authority.signed("server"))
    wanting.verify_mode = ssl.CERT_REQUIRED
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(writer.get_extra_info("peercert")["subject"][-1][0][1])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=wanting) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=context)
        writer.close()
        return await asyncio.wait_for(seen.get(), 5)
