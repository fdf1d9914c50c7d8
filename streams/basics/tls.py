"""TLS: whom a client trusts, and the certificate of its own that a client or server shows."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self

from streams.basics.repeated import LogAgain
from streams.basics.text import shown_path

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""The least time between two looks at the files of a context. They may be on a network's disk, and many connections may
begin at once, in the event loop."""


class RenewedContext(ssl.SSLContext):
    """The context of a client whose files may be replaced: connections use those that were there up to LOOK_S before.

    The arguments are those of ``client_context``, which raises the same ValueError. While the files cannot be used, as
    in the moment in which they are replaced, those before stay, and the log says why.
    """

    def __new__(cls, *files: str) -> Self:
        """The base class takes the protocol."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, *files: str) -> None:
        self._files = files
        self._looked_s = monotonic()
        self._seen = self._look()
        self._current = _client_context(*files)
        self._log = LogAgain()

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio calls this for each."""
        now_s = monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._renew()
        return self._current.wrap_bio(*args, **options)

    def _renew(self) -> None:
        """Read the files again if they are others."""
        if (seen := self._look()) != self._seen:
            try:
                self._current, self._seen = _client_context(*self._files), seen
            except ValueError as why:
                if self._log.is_due():
                    log.warning("files for TLS cannot be used, those before stay: %s", why)

    def _look(self) -> list[tuple[int, int, int]]:
        """What differs once a file was replaced or written again. A file that is missing is found when it is read."""
        paths = [Path(path) for path in self._files if path]
        found = [path.stat() for path in paths if path.exists()]
        return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in found]


def client_context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A context that verifies the server's certificate and host name. Each argument is the path of a PEM file, or "".

    ``ca``: certificates of authorities to trust; without it those of the system. ``certificate``: the client's own,
    with those between it and the authority; ``key``: its private key, where ``certificate`` does not hold it too.

    Files that are replaced are used by new connections, LOOK_S later at the latest. Raises ValueError, whose text says
    which file is wrong and why. An encrypted key is refused.
    """
    return RenewedContext(ca, certificate, key)


def _client_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    context = _trusting(ca) if ca else ssl.create_default_context()
    if certificate:
        load_own(context, certificate, key)
    return context


def _trusting(ca: str) -> ssl.SSLContext:
    """A context that trusts the authorities of a file alone."""
    _readable(ca)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise ValueError(f"{ca} holds no certificates in PEM") from None
    if not context.get_ca_certs():
        raise ValueError(f"{ca} holds no certificate of an authority")
    return context


def load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let a context show this certificate. Arguments and ValueError are those of ``client_context``."""
    _readable(certificate)
    if key:
        _readable(key)

    def refuse() -> str:
        raise ValueError(f"{key or certificate} is encrypted: give the key without a password, in a protected file")

    try:
        context.load_cert_chain(certificate, key or None, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key or certificate} is not the key of the certificate in {certificate}") from None
        raise ValueError(f"{certificate} holds no certificate in PEM, or {key or 'the same file'} no key") from None


def _readable(path: str) -> None:
    """Raise ValueError if a file cannot be read: the messages of the module ssl do not name it."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{shown_path(path)} cannot be read: {error.strerror}") from None
