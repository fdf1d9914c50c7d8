"""``ecounters topics``."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.tools.run_to_end import run_to_end


@click.command()
@click.option("--partitions", type=int, help="For topics that are made (ECOUNTERS_PARTITIONS).")
@click.option("--replication", type=int, help="Copies of each, for topics that are made (ECOUNTERS_REPLICATION).")
def topics(partitions: int | None, replication: int | None) -> None:
    """Make the topics that are missing, and check the others.

    There can be as many workers at work as there are partitions, and their number cannot be changed later.

    \b
        ecounters topics --partitions 24 --replication 3
    """
    settings = settings_with(partitions=partitions, replication=replication)
    for line in run_to_end(settings, ensure_topics(settings.broker, TopicsSpec.of(settings))).lines:
        click.echo(line)
