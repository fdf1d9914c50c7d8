"""``ecounters topics``: creates the topics that are missing, and checks those that exist."""

from __future__ import annotations

import click

from streams.commands.common import settings_with
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.tools.run_to_end import run_to_end


@click.command()
@click.option("--partitions", type=int, help="Partitions of a new topic (ECOUNTERS_PARTITIONS).")
@click.option("--replication", type=int, help="Replicas of a new topic (ECOUNTERS_REPLICATION).")
def topics(partitions: int | None, replication: int | None) -> None:
    """Create the missing topics, and check the others.

    There are three: events, dead letters and the changelog. Workers create none. Each partition is owned by one worker,
    so the number of partitions limits the number of workers. It cannot be changed later.

    \b
        ecounters topics --partitions 24 --replication 3
    """
    settings = settings_with(partitions=partitions, replication=replication)
    for line in run_to_end(settings, ensure_topics(settings.broker, TopicsSpec.of(settings))).lines:
        click.echo(line)
