"""The composition root: ``build`` makes all objects of a worker from its settings and connects them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from redis.asyncio import Redis

from ecounters.changelog.binding import Binding, EventsLog
from streams.access.accounts import Accounts
from streams.access.known_networks import KnownNetworks
from streams.access.look_ups import LookUps
from streams.access.sessions import Sessions
from streams.access.store import connect
from streams.access.throttle import Throttle, ThrottledLogin
from streams.basics.slices import TimeSlices
from streams.basics.tls import client_context
from streams.engine.accounts import AccountLooks
from streams.engine.agent import add_agent
from streams.engine.context import WorkerContext
from streams.engine.events_topic import EventsTopic
from streams.engine.health import WorkerHealth
from streams.engine.table import StateTable
from streams.engine.table_manager import StateManager
from streams.engine.topics_watch import Topics, TopicsWatch
from streams.engine.view import GroupDirectory
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.clients import Kafka
from streams.kafka.consumer import faust_options
from streams.kafka.group import Assignor
from streams.kafka.metadata import FactsClient
from streams.kafka.publisher import REQUEST_BYTES_MAX
from streams.kafka.shared_clients import SharedClients
from streams.kafka.transport_app import TransportApp
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import AccountSettings, PartitionSettings
from streams.settings.table import Settings
from streams.web.api import Api
from streams.web.cookie import SessionCookie
from streams.web.dashboard import Dashboard
from streams.web.docs import Docs
from streams.web.handover import Handover
from streams.web.peer_client import PeerClient
from streams.web.peers import PeerRouter
from streams.web.push import PushStreams
from streams.web.replies import ReplyCache
from streams.web.responder import Responder

QUEUED_BATCHES_MAX: Final = 4
"""So many batches may wait for the agent. Faust's default is 4,096 messages, but a message here is a batch of up to
``fetch_bytes`` bytes."""
REQUEST_LIMIT_S: Final = 10.0
"""Timeout of the producer's requests to Kafka. The consumer's requests have the rebalance time in addition, because a
JoinGroup request stays open for it."""
IDLE_FETCH_WAIT_MS: Final = 1_000
"""So long a broker may hold a fetch request while no events come, but at most half of ``stale_after_ms``: the reply
says that the broker is there. A request names all idle partitions: with 256 of them, 20 requests a second took 7 % of
a core for nothing, and 2 a second still 1.7 %."""
REBALANCE_S: Final = 10.0
"""In a rebalance the group waits at least so long for a worker to rejoin: its last flush takes up to 5 s."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The objects of a worker that its process starts and stops. ``build`` neither starts nor connects them."""

    faust: TransportApp
    table: StateTable
    redis: Redis
    api: Api
    streams: PushStreams
    metrics: Metrics
    facts: FactsClient
    health: WorkerHealth
    handover: Handover


def build(settings: Settings, log: EventsLog, changelog_id: str = "") -> WorkerParts:
    """Make all objects of a worker; none of them connects yet.

    ``log``: the topic of events as it is now. ``changelog_id``: the id of the changelog's topic; "" if it is not known.
    """
    partitions = log.partitions
    app = TransportApp(**_options(settings))
    table: StateTable = app.Table("state", partitions=partitions)  # type: ignore[assignment]
    app.fetch_wait_ms = settings.fetch_wait_ms
    app.idle_fetch_wait_ms = max(settings.fetch_wait_ms, min(IDLE_FETCH_WAIT_MS, settings.stale_after_ms // 2))
    app.positions = table
    app.partitions = partitions
    metrics = _metrics(settings)
    metrics.topic_partitions.set(partitions)
    redis = connect(settings.redis, settings.redis_ca)
    look_ups = LookUps(redis, metrics=metrics.platform)
    sessions = Sessions(look_ups, settings.session_cache_s)
    slices = TimeSlices(settings.slice_ms)
    binding = Binding(log, version("ecounters"))
    kafka = Kafka.of(settings)
    facts = FactsClient(kafka, (settings.topic, settings.changelog_topic))
    topics = TopicsWatch(Topics(log, settings.changelog_topic, changelog_id), facts.ask, app.crash, metrics)
    clients, readers = SharedClients(kafka), ChangelogReaders(kafka)
    events = EventsTopic(app, settings.topic, partitions, clients)
    partition_settings = PartitionSettings.of(settings, partitions)
    directory = GroupDirectory(app, table, partitions, topics)
    peers = PeerClient(
        lambda: settings.secret or cast(Assignor, app.assignor).secret, metrics, client_context(settings.tls_ca)
    )
    accounts = AccountLooks(AccountSettings.of(settings), table, directory, sessions.zone_of, slices, metrics.accounts)
    health = WorkerHealth(app, table, topics, settings.ready_lag_ms, metrics, table.joined.is_set, accounts)
    handover = Handover(table, directory, peers, lambda: health.stopping)
    context = WorkerContext(
        partition_settings, binding, metrics, topics, events, app.crash, slices, clients, readers, handover
    )
    table.configure(context, sessions.zone_of)
    add_agent(app, settings.topic, table)
    cache = ReplyCache(settings.keep_days_ms, slices)
    router = PeerRouter(cache, directory, peers)
    known = KnownNetworks(look_ups, settings.secret)
    login = ThrottledLogin(sessions, Throttle(settings.throttle_per_min), known)
    docs = Docs(settings.topic)
    responder = Responder(login, router, settings.proxies)
    cookie = SessionCookie(settings.proxies, settings.path_prefix)
    streams = PushStreams(responder.authorize, router.reply, cookie, metrics)
    sessions_of_users = Accounts(redis, settings.sessions_per_user)
    dashboard = Dashboard(responder.authorize, responder.respond, sessions, sessions_of_users, cookie)
    api = Api(responder.respond, router, handover, streams, dashboard, docs, health, metrics)
    return WorkerParts(app, table, redis, api, streams, metrics, facts, health, handover)


def _metrics(settings: Settings) -> Metrics:
    """The metrics of a worker, with those of its process and of Python's garbage collector."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return Metrics.create(registry, settings.instance)


def _options(settings: Settings) -> dict[str, Any]:
    """Faust's settings. A comment gives the reason of a value where it is not evident."""
    rebalance_s = max(REBALANCE_S, float(settings.session_timeout_s))
    return {
        "id": settings.app_id,
        **faust_options(Kafka.of(settings)),
        "Table": StateTable,
        "TableManager": StateManager,
        "PartitionAssignor": Assignor,
        "canonical_url": f"{settings.scheme}://{settings.advertise}",
        # streams.web serves HTTP. Faust's server would serve before the partitions are restored, without saying so.
        "web_enabled": False,
        # `ecounters topics` and `ecounters run` create the topics.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # The state is in memory and in its changelog. Faust stores nothing on disk.
        "store": "memory://",
        "datadir": tempfile.gettempdir(),
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "stream_buffer_maxsize": QUEUED_BATCHES_MAX,
        # Static membership: a worker that is restarted under the same name gets its partitions at once. Otherwise the
        # group would wait for the dead worker's session to time out.
        "consumer_group_instance_id": settings.instance_id or None,
        "broker_session_timeout": float(settings.session_timeout_s),
        "broker_heartbeat_interval": settings.heartbeat_s,
        # The broker keeps a JoinGroup request open until all workers have joined, so the request must last longer.
        "broker_rebalance_timeout": rebalance_s,
        "broker_request_timeout": rebalance_s + REQUEST_LIMIT_S,
        # aiokafka leaves the group after this time without a poll, and joins again only after a poll. While all
        # partitions of the worker are being restored, nothing is polled.
        "broker_max_poll_interval": 2_147_483.0,
        "broker_commit_interval": 1.0,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": settings.fetch_bytes,
        # streams.kafka.splitting checks the CRCs instead.
        "broker_check_crcs": False,
        # Faust's default of 20 minutes would delay the end of the process while a broker is away.
        "producer_request_timeout": REQUEST_LIMIT_S,
        "producer_acks": -1,
        # A misrouted switch.snapshot has up to 1 MiB.
        "producer_max_request_size": REQUEST_BYTES_MAX,
    }
