"""Certificates for tests: an authority, and what it signs. Made by openssl, as PEM files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

DAYS: Final = "2"
KEY_KIND: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
"""Keys of elliptic curves: to make one takes milliseconds."""


class Authority:
    """An authority, whose certificate is ``ca``. ``signed`` makes certificates of servers and clients."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            "req", "-x509", *KEY_KIND, "-days", DAYS, "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca
        )

    def signed(self, name: str, hosts: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """(certificate, key) for a server or client of this name. ``hosts``: as openssl writes alternative names."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        _openssl(
            "req", "-x509", *KEY_KIND, "-days", DAYS, "-subj", f"/CN={name}", "-CA", self.ca, "-CAkey", self._key,
            "-addext", f"subjectAltName={hosts}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", key, "-out", certificate,
        )  # fmt: skip
        return certificate, key

    def joined(self, name: str, hosts: str = "IP:127.0.0.1") -> Path:
        """One file with key and certificate, as Kafka wants them."""
        certificate, key = self.signed(name, hosts)
        joined = self._folder / f"{name}-joined.pem"
        joined.write_text(key.read_text() + certificate.read_text())
        return joined

    def encrypted(self, key: Path, into: Path) -> Path:
        """The same key, encrypted with a password."""
        _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", into)
        return into


def _openssl(*words: object) -> None:
    program = shutil.which("openssl")
    assert program is not None, "openssl is missing"
    subprocess.run([program, *map(str, words)], check=True, capture_output=True)
