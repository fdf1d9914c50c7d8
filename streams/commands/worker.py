"""``ecounters worker``. Its import loads the engine, which takes a second: no other command imports it."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.worker import run_worker


@click.command()
@click.option("--host", help="Address to serve HTTP on (ECOUNTERS_HOST).")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
def worker(host: str | None, port: int | None) -> int:
    """Run one worker: read events, keep counters, answer requests.

    \b
    Workers share the partitions. Two on one machine:
        ecounters worker --port 8080
        ecounters worker --port 8081
    """
    settings = settings_with(host=host, port=port)
    return run_worker(settings)
