"""``ecounters worker``. No other command imports the engine, which takes about a second to load."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.worker import run_worker


@click.command()
@click.option("--host", help="Address to serve HTTP on (ECOUNTERS_HOST).")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
def worker(host: str | None, port: int | None) -> None:
    """Run one worker: read events, keep counters, answer requests.

    Workers with the same ECOUNTERS_APP_ID share the partitions of the topic of events. SIGTERM or Ctrl-C saves the
    counters and ends it.

    \b
    Two workers on one machine:
        ecounters worker --port 8080
        ecounters worker --port 8081
    """
    run_worker(settings_with(host=host, port=port))
