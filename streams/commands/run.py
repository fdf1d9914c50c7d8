"""``ecounters run``."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.local.options import RunOptions
from streams.local.run import run_all


@click.command()
@click.option("--no-simulate", is_flag=True, help="Simulate no switches: you publish events.")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Directory of data and logs (ECOUNTERS_DATA_DIR).")
@click.option(
    "--broker-port", type=click.IntRange(1, 65_535), help="Port of the embedded broker; any free one if not given."
)
def run(no_simulate: bool, port: int | None, data_dir: str | None, broker_port: int | None) -> int:
    """Run everything on this machine: broker, store, one worker and simulated switches.

    For trying it out, not for production. Needs an extra package: pip install 'ecounters[embedded]'.

    It prints an address, a user and a token, a curl command that queries the counters, and an export line with which
    other commands reach its broker, store and worker. Ctrl-C ends it. The data stays for the next time.

    \b
        ecounters run
        ecounters run --no-simulate --broker-port 9092
    """
    settings = settings_with(port=port, data_dir=data_dir)
    return run_all(RunOptions(settings, simulate=not no_simulate, broker_port=broker_port or 0))
