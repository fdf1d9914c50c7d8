"""What may listen at the address of a worker that has died, and what it answers there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket], None]

HEAD = (
    b"HTTP/1.1 200 OK\r\nETag: W/\"x\"\r\nX-Ecounters-Lag-Ms: 0\r\nX-Ecounters-Complete: true\r\n"
    b"X-Ecounters-Suspected: 0\r\nX-Ecounters-Range: a/b\r\nX-Ecounters-Position: 0:1\r\n"
)  # fmt: skip
CLAIMED = b"Ecounters-Content: 11 " + b"0" * 64 + b"\r\nEcounters-Signature: " + b"0" * 64 + b"\r\n"


def whole(content: bytes, *headers: bytes) -> Answer:
    """Sends a reply with this body."""

    def answer(connection: socket.socket) -> None:
        length = b"Content-Length: %d\r\n" % len(content)
        connection.sendall(HEAD + b"".join(headers) + length + b"\r\n" + content)

    return answer


def endless(*headers: bytes) -> Answer:
    """Sends a reply whose body does not end."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"".join(headers) + b"Content-Length: 99999999999\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    return answer


def drip(connection: socket.socket) -> None:
    """Sends a byte of a head now and then."""
    for byte in HEAD * 10:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def refusing(connection: socket.socket) -> None:
    """Sends the refusal of wrong credentials, which a client would believe."""
    body = b'{"status":"error","message":"Permission denied","code":1015}'
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@contextmanager
def stranger(port: int, answer: Answer) -> Iterator[None]:
    """A process at this port, which answers every connection so."""

    def serve() -> None:
        with suppress(OSError):  # the end
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=one, args=[connection], daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            answer(connection)

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
