"""TLS of a worker's own: the certificate that it serves with, and which certificates of other workers it trusts."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from ecounters.errors import SettingsError
from streams.basics.text import one_line

log = logging.getLogger(__name__)


class ServerTls:
    """The server's side: certificate and key of two files in PEM, which can be replaced while connections go on.

    ``context``: for servers; each handshake uses the pair that was loaded last. Raises SettingsError if the files are
    no pair.
    """

    def __init__(self, cert: str, key: str) -> None:
        self._cert, self._key = cert, key
        try:
            self._current = self._load()
            self.context = self._load()
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise SettingsError(
                f"ECOUNTERS_TLS_CERT {cert!r} and ECOUNTERS_TLS_KEY {key!r} are no pair that can be used: {_why(error)}"
            ) from None
        # Called in each handshake, also of clients that name no server.
        self.context.sni_callback = self._use_current

    def reload(self) -> None:
        """Read both files again. Logs what came of it; if they are no pair, the one before stays."""
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            log.error(
                "the certificate in %s and %s cannot be used, the one before stays: %s",
                self._cert, self._key, _why(error),
            )  # fmt: skip
        else:
            log.info("the certificate was read again from %s", self._cert)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # Without a password openssl would ask for one on the terminal, if the key is encrypted.
        context.load_cert_chain(self._cert, self._key, password="")
        return context

    def _use_current(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        handshake.context = self._current


def client_context(ca: str) -> ssl.SSLContext:
    """How a worker checks the certificates of others: against the CAs in the file ``ca``, or the system's if "".

    A certificate must name the host of the ECOUNTERS_ADVERTISE that it is reached at. Raises SettingsError if the file
    cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        raise SettingsError(f"ECOUNTERS_TLS_CA {ca!r} is wrong: {_why(error)}") from None


def _why(error: Exception) -> str:
    """The reason in a few words: openssl's messages have codes and source files around it."""
    reason: Any = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason).replace("_", " ").lower() if reason else one_line(error)
