"""The certificate that a worker serves HTTPS with."""

from __future__ import annotations

import logging
import ssl

from ecounters.errors import SettingsError
from streams.basics.tls import load_own

log = logging.getLogger(__name__)


class ServerTls:
    """The server's side: certificate and key of two files in PEM, which can be replaced while connections go on.

    ``cert``, ``key``: their paths. ``context``: for servers; each handshake uses the pair that was loaded last. Raises
    SettingsError if the files are no pair.
    """

    def __init__(self, cert: str, key: str) -> None:
        self._cert, self._key = cert, key
        try:
            self._current = self._load()
            self.context = self._load()
        except ValueError as why:
            raise SettingsError(f"ECOUNTERS_TLS_CERT or ECOUNTERS_TLS_KEY is wrong: {why}") from None
        # Called in each handshake, also of clients that name no server.
        self.context.sni_callback = self._use_current

    def reload(self) -> None:
        """Read both files again. Logs what came of it; if they are no pair, the one before stays."""
        try:
            self._current = self._load()
        except ValueError as why:
            log.error("the certificate cannot be replaced, the one before stays: %s", why)
        else:
            log.info("the certificate was read again from %s", self._cert)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_own(context, self._cert, self._key)
        return context

    def _use_current(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        handshake.context = self._current
