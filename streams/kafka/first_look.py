"""What a worker looks at before it joins the group and before it takes any transactional id: topics and saved states.

Nothing is written and nothing is made here. What does not fit raises Unfit, and the worker ends: a worker with a wrong
setting would fence the workers that are right, and save its own offsets in place of theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from aiokafka.errors import TopicAuthorizationFailedError

from ecounters.changelog.binding import EventsLog
from ecounters.changelog.fitting import misfit
from ecounters.errors import Unfit
from streams.kafka import worker_rights
from streams.kafka.admin import admin_client, connected_client
from streams.kafka.clients import Kafka
from streams.kafka.group_facts import committed_offsets
from streams.kafka.positions import known_positions
from streams.kafka.rights import TOPIC, missing_right
from streams.kafka.topic_checks import Found, refusal, warnings
from streams.kafka.topics import TopicsSpec, found_topics
from streams.settings.narrow import ChangelogSettings
from streams.settings.table import Settings


class FirstLook(NamedTuple):
    """What a worker is to work on.

    ``log``: the topic of events. ``changelog_id``: the id of the changelog's topic; "" if the broker tells none.
    ``lines``: what there is, and warnings, for the worker's own log.
    """

    log: EventsLog
    changelog_id: str
    lines: list[str]


async def first_look(settings: Settings) -> FirstLook:
    """Look at the topics and at the saved positions.

    Raises AccessRefused if Kafka does not allow what a worker must do. Raises Unfit if a topic is missing, if topics
    must not be used (``topic_checks.refusal``), or if the saved states are not of this topic (``fitting.misfit``) or
    gone (``forgotten``). Raises Stop if a configuration cannot be read, KafkaError or TimeoutError if the broker cannot
    be reached.
    """
    spec = TopicsSpec.of(settings)
    found = await _found(Kafka.of(settings), spec)
    if why := refusal(spec.names, found):
        raise Unfit(why)
    facts = found.facts[spec.events]
    log = EventsLog(found.cluster_id, spec.events, facts.topic_id, facts.partitions)
    await _refuse_rights(settings, spec, found)
    away = found.facts[spec.changelog].away
    saved, unknown, _ = await known_positions(Kafka.of(settings), spec.changelog, log.partitions, away)
    unknown |= away  # each of these waits by itself
    if why := misfit(saved, log, spec.changelog, unknown):
        raise Unfit(why)
    committed = await committed_offsets(Kafka.of(settings), settings.app_id, spec.events)
    if why := forgotten(saved.keys() | unknown, committed, settings.app_id, spec):
        raise Unfit(why)
    lines = [f"{name}: {topic.partitions} partitions" for name, topic in found.facts.items()]
    lines += [*warnings(spec.names, found), *worker_rights.warnings(spec.names, found.facts)]
    return FirstLook(log, found.facts[spec.changelog].topic_id, lines)


def forgotten(saved: Collection[int], committed: Mapping[int, int], group: str, spec: TopicsSpec) -> str:
    """Why no worker must begin anew: events were counted, and the changelog does not have them; "" if there is none.

    ``saved``: the partitions that have a saved position, or whose position cannot be told now. ``committed``: partition
    -> the offset that the group has committed, which workers do after they have saved a position.
    """
    lost = sorted(partition for partition, offset in committed.items() if offset > 0 and partition not in saved)
    if not lost:
        return ""
    return (
        f"{spec.changelog} has no saved state of partition {lost[0]} of {spec.events}, but workers have counted it up "
        f"to offset {committed[lost[0]]}: the changelog was deleted, or made anew; `ecounters state import FILE` "
        "brings a state back that was exported; to count again what Kafka still has: kafka-consumer-groups.sh "
        f"--delete --group {group}"
    )


async def _refuse_rights(settings: Settings, spec: TopicsSpec, found: Found) -> None:
    """Raise AccessRefused if a right is missing, as far as Kafka lets one look. Raises KafkaError."""
    if refused := worker_rights.lacking(spec.names, found.facts):
        raise refused
    changelog = ChangelogSettings.of(settings)
    async with connected_client(Kafka.of(settings)) as client:
        await worker_rights.refuse_group(client, settings.app_id)
        for partition in {0, found.facts[spec.events].partitions - 1}:
            await worker_rights.refuse_transactional_id(client, changelog.transactional_id(partition))


async def _found(kafka: Kafka, spec: TopicsSpec) -> Found:
    """The three topics. Raises Unfit if one is missing, and what ``first_look`` raises."""
    async with admin_client(kafka) as admin:
        try:
            found = await found_topics(admin, kafka, spec.names)
        except TopicAuthorizationFailedError as error:  # it is not even shown
            (name,) = error.args
            raise missing_right("Write" if name == spec.dlq else "Read", TOPIC, name) from error
        for name in spec.names:
            if name not in found.facts:
                raise Unfit(missing(name, await admin.list_topics(), is_events=name == spec.events))
        return found


def missing(topic: str, existing: Collection[str], *, is_events: bool) -> str:
    """The line about a topic that is not there. ``existing``: the names of those that are. ``is_events``: whether
    ECOUNTERS_TOPIC names it directly."""
    close = difflib.get_close_matches(topic, sorted(set(existing) - {topic}), n=1)
    named = " (ECOUNTERS_TOPIC)" if is_events else ""
    nearest = f"; did you mean {close[0]}?" if close else ";"
    return f"there is no topic {topic}{named}{nearest} `ecounters topics` creates it, workers create none"
