"""A real nginx in front of workers, with a configuration of ``deploy/nginx``."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from streams.local.ports import LOCAL, free_ports
from tests.support.workers import ROOT

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
"""The program; None if there is none. `.ci/run` installs it."""
START_LIMIT_S: Final = 10.0

_MAIN: Final = """
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """nginx at ``port``, which passes requests on to the workers at ``ports``. ``site``: a file of ``deploy/nginx``.

    Only the ports of the file are replaced.
    """

    def __init__(self, folder: Path, site: str, ports: Sequence[int]) -> None:
        assert NGINX is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        text = (ROOT / "deploy" / "nginx" / site).read_text()
        for documented, port in zip((8081, 8082, 8083), ports, strict=True):
            text, count = re.subn(rf"server 127\.0\.0\.1:{documented}\b", f"server {LOCAL}:{port}", text)
            assert count == 1
        text, count = re.subn(r"listen 8080;", f"listen {LOCAL}:{self.port};", text)
        assert count == 1
        (folder / "site.conf").write_text(text)
        config = folder / "nginx.conf"
        config.write_text(_MAIN.format(folder=folder))
        self.errors = folder / "error.log"
        self._process = subprocess.Popen([NGINX, "-c", config, "-e", self.errors], stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection((LOCAL, self.port), 1).close()
                return self
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.errors.read_text()
                time.sleep(0.02)

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_LIMIT_S)
