"""``ecounters run``."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.local.options import RunOptions
from streams.local.run import run_all


@click.command()
@click.option("--no-simulate", is_flag=True, help="Without simulated switches: publish your own events.")
@click.option("--port", type=int, help="Port to serve HTTP on (ECOUNTERS_PORT).")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Where data is kept (ECOUNTERS_DATA_DIR).")
@click.option("--broker-port", type=click.IntRange(1, 65_535), help="Port of the embedded broker; any free one.")
def run(no_simulate: bool, port: int | None, data_dir: str | None, broker_port: int | None) -> int:
    """Run the whole thing on this machine: broker, store, a worker, simulated switches.

    For trying it out. Needs the extra: pip install 'ecounters[embedded]'.

    \b
        ecounters run
        ecounters run --no-simulate --broker-port 9092
    """
    settings = settings_with(port=port, data_dir=data_dir)
    return run_all(RunOptions(settings, simulate=not no_simulate, broker_port=broker_port or 0))
