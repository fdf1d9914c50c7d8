"""A worker whose port is in use says so in words."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web

from ecounters.errors import Stop
from streams.local.ports import free_ports
from streams.settings.narrow import HttpSettings
from streams.web.api import Api
from streams.web.listening import Ports


def ports(host: str, port: int, admin_port: int = 0) -> Ports:
    """The ports of a worker that answers nothing."""
    api = SimpleNamespace(application=lambda with_admin: web.Application(), admin_application=lambda: web.Application())
    return Ports(cast(Api, api), HttpSettings(host, port, admin_port, ""), None)


def why_not(opened: Ports) -> str:
    """What ends the start of a worker with these ports."""

    async def run() -> str:
        try:
            with pytest.raises(Stop) as stop:
                await opened.open()
            return str(stop.value)
        finally:
            await opened.close()

    return asyncio.run(run())


NO_IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::", marks=NO_IPV6)])
def test_a_port_in_use_is_named_with_its_setting(host: str) -> None:
    """That of the API can be given as an option too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used, (free,) = taken.getsockname()[1], free_ports(1)
        assert why_not(ports(host, used)) == f"port {used} is in use: give another --port (ECOUNTERS_PORT)"
        assert why_not(ports(host, free, used)) == f"port {used} is in use: give another ECOUNTERS_ADMIN_PORT"


def test_an_address_of_another_machine_stays_an_error_of_the_system() -> None:
    """Another port would not help."""
    with pytest.raises(OSError, match="assign requested address"):
        asyncio.run(ports("192.0.2.1", free_ports(1)[0]).open())
