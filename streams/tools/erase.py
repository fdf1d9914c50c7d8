"""The work of ``ecounters user erase``: forgets a user, and says what Kafka still holds of the user, and how long."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import orjson

from ecounters.errors import Stop
from ecounters.text import shown
from streams.access.accounts import TEXT_MAX, Accounts
from streams.basics.text import is_unicode
from streams.basics.times import now_ms
from streams.kafka.clients import Kafka
from streams.kafka.publisher import publish_one
from streams.kafka.topics import topic_configs
from streams.settings.table import Settings

ID_BYTES: Final = 12
"""Random bytes in the id of an account.erased: no two are equal."""
UNLIMITED: Final = ("-1", "9223372036854775807")
"""How Kafka's settings say that there is no limit."""

_UNITS_MS: Final = (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000))


class Erasure(NamedTuple):
    """What was done, and what remains.

    ``partition``, ``offset``: where the account.erased was written. ``had_account``: there was an account, which is
    removed now. ``sessions``: how many were ended. ``remains``: lines about what the topics still hold.
    """

    user_id: str
    topic: str
    partition: int
    offset: int
    had_account: bool
    sessions: int
    remains: list[str]

    def lines(self) -> Iterator[str]:
        """The report for people."""
        place = f"partition {self.partition}, offset {self.offset}"
        yield f"Published account.erased to {self.topic}: {place}. Workers forget the user when they read it."
        account = "Removed the account" if self.had_account else "There was no account"
        yield f"{account}; {self.sessions:,} sessions were ended."
        yield "What remains:"
        yield from (f"  {line}" for line in self.remains)


async def erase(settings: Settings, user_id: str) -> Erasure:
    """Publish account.erased for a user, then remove its account, sessions and known networks.

    The event comes first. If this fails in between, the account is still there, and a repetition does all of it: to
    publish the event twice changes nothing. Raises Stop if no event can have this user id, if a topic is missing, or if
    workers would refuse the event; KafkaError; RedisError.
    """
    if not 1 <= len(user_id) <= TEXT_MAX or not is_unicode(user_id):
        raise Stop(
            f"no event can have the user id {shown(user_id[:TEXT_MAX])}, so nothing is counted of it; `ecounters user "
            "remove` removes its account"
        )
    configs = await topic_configs(Kafka.of(settings), [settings.topic, settings.dlq_topic, settings.changelog_topic])
    at_ms = now_ms()
    event = {"id": f"erased-{secrets.token_hex(ID_BYTES)}", "type": "account.erased", "ts": at_ms, "userId": user_id}
    published = await publish_one(Kafka.of(settings), settings.topic, user_id, orjson.dumps(event))
    if published.stamped_ms is not None and at_ms > published.stamped_ms + settings.clock_ahead_ms:
        raise Stop(
            "the clock of this machine is ahead of the broker's, so workers refuse the event that was published "
            "(clock_ahead); nothing else was done: set the clock right and repeat the command"
        )
    accounts = Accounts.connect(settings)
    try:
        had_account, sessions = await accounts.erase_user(user_id)
    finally:
        await accounts.close()
    left = list(remains(settings, configs))
    return Erasure(user_id, settings.topic, published.partition, published.offset, had_account, sessions, left)


def remains(settings: Settings, configs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Lines about what each topic still holds of an erased user, and for how long, by its settings."""
    yield f"{settings.topic} holds the events of this user {_kept(configs[settings.topic])}."
    yield f"{settings.dlq_topic} holds refused events of this user {_kept(configs[settings.dlq_topic])}."
    changelog = configs[settings.changelog_topic]
    lag, tombstones = changelog.get("max.compaction.lag.ms", "-1"), changelog.get("delete.retention.ms", "-1")
    until = "" if lag in UNLIMITED else f", about {_duration(lag)} after the erasure"
    more = "" if tombstones in UNLIMITED else f" for {_duration(tombstones)} more"
    yield f"{settings.changelog_topic} holds the counters of before until Kafka compacts it{until}."
    yield f"{settings.changelog_topic} holds tombstones, which name numbers and DIDs,{more} until the next compaction."
    yield "Events that switches publish of this user from now on are counted, and so are those that are replayed."


def _kept(config: Mapping[str, str]) -> str:
    """How long a topic keeps a record, in words. Kafka deletes whole segments, and only those that it has closed."""
    if "delete" not in config.get("cleanup.policy", "delete"):
        return "without a limit: its cleanup.policy is not delete"
    retention, segment = config.get("retention.ms", UNLIMITED[0]), config.get("segment.ms", UNLIMITED[0])
    if retention in UNLIMITED:
        return "without a limit of time: its retention.ms is -1"
    more = "" if segment in UNLIMITED else f", {_duration(segment)} more at most (segment.ms)"
    return f"for {_duration(retention)} after each was written (retention.ms), and until its segment is deleted{more}"


def _duration(ms: str) -> str:
    """A time in the largest unit that it is a whole number of, such as "7 days"."""
    for unit, unit_ms in _UNITS_MS:
        count, rest = divmod(int(ms), unit_ms)
        if count and not rest:
            return f"{count:,} {unit if count > 1 else unit[:-1]}"
    return f"{int(ms):,} ms"
