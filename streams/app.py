"""The one place that puts a worker together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any, Final, cast

import faust
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from streams.access.accounts import Accounts
from streams.access.sessions import Sessions
from streams.access.store import connect
from streams.access.throttle import Throttle, ThrottledLogin
from streams.basics.slices import TimeSlices
from streams.engine.agent import add_agent
from streams.engine.context import WorkerContext
from streams.engine.events_topic import EventsTopic
from streams.engine.health import WorkerHealth
from streams.engine.table import StateManager, StateTable
from streams.engine.view import GroupDirectory
from streams.kafka.consumer import broker_urls
from streams.kafka.group import Assignor
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import PartitionSettings
from streams.settings.table import Settings
from streams.web.api import Api
from streams.web.dashboard import Dashboard
from streams.web.docs import Docs
from streams.web.peers import PeerRouter
from streams.web.push import PushStreams
from streams.web.replies import ReplyCache
from streams.web.responder import Responder

QUEUED_BATCHES_MAX: Final = 4
"""Faust's default is 4,096 messages, which here are batches of up to ``fetch_bytes``."""
REQUEST_LIMIT_S: Final = 10.0
REBALANCE_S: Final = 10.0
"""How long the others wait for a worker when partitions are shared out anew: for its last flush, and a bit."""


class FaustApp(faust.App):
    """Faust's app, with what the transport asks of it."""

    fetch_wait_ms: int
    positions: StateTable


@dataclass(frozen=True, slots=True)
class Engine:
    """A worker's parts, put together and not started."""

    faust: FaustApp
    table: StateTable
    redis: Redis
    api: Api
    streams: PushStreams


def build(settings: Settings, partitions: int) -> Engine:
    """A worker for topics of so many partitions."""
    app = FaustApp(**_options(settings))
    table: StateTable = app.Table("state", partitions=partitions)  # type: ignore[assignment]
    app.fetch_wait_ms = settings.fetch_wait_ms
    app.positions = table
    metrics = Metrics.create(CollectorRegistry())
    redis = connect(settings.redis)
    sessions = Sessions(redis, settings.session_cache_s)
    events = EventsTopic(app, settings.topic, partitions)
    slices = TimeSlices(settings.slice_ms)
    context = WorkerContext(PartitionSettings.of(settings, partitions), metrics, events, app.crash, slices)
    table.configure(context, sessions.zone_of)
    add_agent(app, settings.topic, table)
    directory = GroupDirectory(app, table.owned, partitions)
    cache = ReplyCache(settings.keep_days_ms)
    router = PeerRouter(cache, directory, lambda: settings.secret or cast(Assignor, app.assignor).secret, metrics)
    login = ThrottledLogin(sessions, Throttle(settings.throttle_per_min))
    health = WorkerHealth(app, table, settings.ready_lag_ms, metrics)
    docs = Docs(settings.topic)
    responder = Responder(login, router, settings.proxies)
    streams = PushStreams(responder.authorize, router.reply, metrics)
    dashboard = Dashboard(responder.authorize, responder.respond, sessions, Accounts(redis))
    api = Api(responder.respond, router, streams, dashboard, docs, health, metrics)
    return Engine(app, table, redis, api, streams)


def _options(settings: Settings) -> dict[str, Any]:
    """Faust's settings. Each that is not its default says why."""
    rebalance_s = max(REBALANCE_S, float(settings.session_timeout_s))
    return {
        "id": settings.app_id,
        "broker": list(broker_urls(settings.broker)),
        "Table": StateTable,
        "TableManager": StateManager,
        "PartitionAssignor": Assignor,
        "canonical_url": f"http://{settings.advertise}",
        # Ours serves HTTP, before the tables are there too; it says 503 then.
        "web_enabled": False,
        # `ecounters topics` and the worker's start see to topics.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # The state is in memory and in its changelog; nothing of Faust's is kept on disk.
        "store": "memory://",
        "datadir": tempfile.gettempdir(),
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "stream_buffer_maxsize": QUEUED_BATCHES_MAX,
        # Static membership: the broker gives a name's partitions to whoever has it, without waiting for the dead one.
        "consumer_group_instance_id": settings.instance_id or None,
        "broker_session_timeout": float(settings.session_timeout_s),
        "broker_heartbeat_interval": settings.heartbeat_s,
        # The broker keeps a request to join open while others have not: the one limit must be above the other.
        "broker_rebalance_timeout": rebalance_s,
        "broker_request_timeout": rebalance_s + REQUEST_LIMIT_S,
        # aiokafka leaves the group after this without a poll and never comes back; in a restore nothing is polled.
        "broker_max_poll_interval": 2_147_483.0,
        "broker_commit_interval": 1.0,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": settings.fetch_bytes,
        # streams.checksums does.
        "broker_check_crcs": False,
        # 20 minutes otherwise: a broker that is away would hold up the end of the process.
        "producer_request_timeout": REQUEST_LIMIT_S,
        "producer_acks": -1,
    }
