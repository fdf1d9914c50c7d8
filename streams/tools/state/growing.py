"""The work of ``ecounters topics --grow``: more partitions for the topics of stopped workers, without losing a count.

    export                 the state into a file
    add partitions         to the topic of events and that of dead letters
    make anew              the changelog, with as many partitions
    import                 the file

Each step can be repeated, and what is done already is found by looking. So after a kill at any moment the same command
goes on. The file is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ecounters.changelog.fitting import not_imported
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from streams.kafka.clients import Kafka
from streams.kafka.growing import add_partitions, make_changelog_anew
from streams.kafka.metadata import ClusterFacts
from streams.settings.table import Settings
from streams.tools.state.archive import read_archive
from streams.tools.state.exporting import export
from streams.tools.state.importing import Imported, import_state, mark_begun
from streams.tools.state.target import refuse_if_running, saved_positions, topics_of


class Plan(NamedTuple):
    """What growing will do. ``old``: partitions of the topic of events now. ``exports``: the state is still in the
    changelog, so the file is written first; else it is there from an earlier try. ``path``: the file."""

    old: int
    new: int
    exports: bool
    path: Path

    def lines(self, settings: Settings) -> list[str]:
        """What will be done, for people."""
        exports = f"export the state to {self.path}" if self.exports else f"take the state from {self.path}"
        return [
            f"Growing to {self.new} partitions will:",
            f"  {exports}, which is kept",
            f"  let {settings.topic} and {settings.dlq_topic} have {self.new} partitions",
            f"  delete {settings.changelog_topic}, and make it anew with {self.new} partitions",
            "  import the state into it",
        ]


async def plan(settings: Settings, partitions: int, directory: Path) -> Plan | None:
    """Look at what is there. None: it has grown already, and the import is whole.

    Raises Stop if workers run, if topics are missing, or if nothing can be grown so.
    """
    await refuse_if_running(settings)
    facts = await topics_of(settings)
    path = directory / f"{settings.app_id}-{partitions}-partitions.state"
    events, changelog = facts.topics.get(settings.topic), facts.topics.get(settings.changelog_topic)
    if events is None:
        raise Stop(f"there is no topic {settings.topic}; `ecounters topics --partitions {partitions}` makes it")
    positions: dict[int, Position] = {}
    if changelog is not None:
        positions = await saved_positions(settings, changelog.partitions)
    of = {one.binding.log.partitions for one in positions.values() if one.binding is not None}
    if events.partitions > partitions or max(of, default=0) > partitions:
        raise Stop(f"{settings.topic} has {max(events.partitions, *of)} partitions already; Kafka can only add some")
    if partitions in of and not not_imported({at: one.binding for at, one in positions.items()}, partitions):
        return None
    exports = bool(positions) and partitions not in of
    if not exports and not path.exists():
        raise Stop(
            f"there is no state to move: nothing was counted yet, or its file {path} is gone. Without a state, delete "
            f"{settings.changelog_topic}, add the partitions with Kafka's tools, and run `ecounters topics`"
        )
    return Plan(events.partitions, partitions, exports, path)


async def grow(settings: Settings, plan: Plan, say: Callable[[str], None]) -> Imported:
    """Do what the plan says. ``say``: called with a line for each step.

    Raises Stop, KafkaError, OSError, TimeoutError.
    """
    if plan.exports:
        exported = await export(settings, plan.path)
        say(f"Exported {exported.line} to {plan.path}.")
    archive = read_archive(plan.path)
    before = await topics_of(settings)
    for topic in (settings.topic, settings.dlq_topic):
        if topic in before.topics:
            await add_partitions(Kafka.of(settings), topic, plan.new)
            say(f"{topic} has {plan.new} partitions.")
    if plan.exports or not _has_partitions(before, settings.changelog_topic, plan.new):
        copies = before.topics[
            settings.changelog_topic if settings.changelog_topic in before.topics else settings.topic
        ]
        await make_changelog_anew(Kafka.of(settings), settings.changelog_topic, plan.new, copies.copies)
        await mark_begun(settings, archive)
        say(f"{settings.changelog_topic} was made anew with {plan.new} partitions.")
    return await import_state(settings, archive)


def _has_partitions(facts: ClusterFacts, topic: str, partitions: int) -> bool:
    return topic in facts.topics and facts.topics[topic].partitions == partitions
