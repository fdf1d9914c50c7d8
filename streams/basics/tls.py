"""The TLS context of a client: whom to trust, and the client's own certificate."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A context that verifies the server's certificate and host name. Each argument is the path of a PEM file, or "".

    ``ca``: certificates of authorities to trust; without it those of the system. ``certificate``: the client's own,
    with those between it and the authority; ``key``: its private key, where ``certificate`` does not hold it too.

    Raises ValueError, whose text says which file is wrong and why. An encrypted key is refused.
    """
    context = _trusting(ca) if ca else ssl.create_default_context()
    if certificate:
        _readable(certificate)
        if key:
            _readable(key)
        _load_own(context, certificate, key)
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


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let a context show this certificate to servers that ask for one."""

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
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
