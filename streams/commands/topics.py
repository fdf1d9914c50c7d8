"""``ecounters topics``: creates the topics that are missing, and checks those that exist."""

from __future__ import annotations

from pathlib import Path

import click

from streams.commands.common import settings_with
from streams.kafka.clients import Kafka
from streams.kafka.topics import TopicsSpec, ensure_topics
from streams.settings.table import Settings
from streams.tools.run_to_end import run_to_end
from streams.tools.state.growing import grow as grow_topics
from streams.tools.state.growing import plan


@click.command()
@click.option("--partitions", type=int, help="Partitions of a new topic (ECOUNTERS_PARTITIONS).")
@click.option("--replication", type=int, help="Replicas of a new topic (ECOUNTERS_REPLICATION).")
@click.option("--grow", type=click.IntRange(1), metavar="N", help="Add partitions to existing topics, up to N.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where --grow keeps the exported state.  [default: here]",
)
@click.option("--yes", is_flag=True, help="Do not ask before --grow.")
def topics(partitions: int | None, replication: int | None, grow: int | None, directory: Path, yes: bool) -> None:
    """Create the missing topics, and check the others.

    There are three: events, dead letters and the changelog. Workers create none. Each partition is owned by one worker,
    so the number of partitions limits the number of workers.

    \b
        ecounters topics --partitions 24 --replication 3

    --grow adds partitions to existing topics, and keeps all that was counted: it exports the state to a file, alters
    the topics, makes the changelog anew and imports the state. Stop the workers before. It asks first; if it is cut
    short, the same command goes on. Producers must learn of the new partitions: start them again, or wait until they
    have (with Kafka's defaults for 5 minutes). Never add partitions with Kafka's own tools.

    \b
        ecounters topics --grow 48
    """
    if yes and grow is None:
        raise click.UsageError("--yes is for --grow")
    if grow is not None:
        if partitions is not None or replication is not None:
            raise click.UsageError("--grow does not go with --partitions or --replication")
        _grow(settings_with(), grow, directory, confirmed=yes)
        return
    settings = settings_with(partitions=partitions, replication=replication)
    for line in run_to_end(settings, ensure_topics(Kafka.of(settings), TopicsSpec.of(settings))).lines:
        click.echo(line)


def _grow(settings: Settings, partitions: int, directory: Path, *, confirmed: bool) -> None:
    """Grow the topics, and print what is done. Asks first unless ``confirmed``."""
    planned = run_to_end(settings, plan(settings, partitions, directory))
    if planned is None:
        click.echo(f"{settings.topic} and its state have {partitions} partitions already. Start the workers.")
        return
    for line in planned.lines(settings):
        click.echo(line)
    if not confirmed:
        click.confirm("Go on?", abort=True, err=True)
    imported = run_to_end(settings, grow_topics(settings, planned, click.echo))
    click.echo(f"Imported {imported.entries:,} entries into {imported.written} partitions.")
    click.echo(
        f"Start the workers, and then the producers again. Keep {planned.path} until `ecounters audit` is equal."
    )
