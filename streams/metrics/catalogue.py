"""``Metrics``: every Prometheus metric of a worker, with advice for the operator."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from ecounters.errors import REASONS
from ecounters.native import BUILD
from streams.metrics.accounts import AccountSeries
from streams.metrics.families import PartitionGauge, SmallestGauge

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper limits of the buckets of histograms of waits for one reply, in s."""
_LONG_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 180.0, 600.0)
"""Upper limits of the buckets of the histogram of times without an owner, in s."""

FENCED: Final = "fenced"
FAILED: Final = "failed"
UNCONFIRMED: Final = "unconfirmed"
FLUSH_FAILURES: Final = (FENCED, FAILED, UNCONFIRMED)
"""Why a flush failed: another worker has taken the changelog over; Kafka did not write; Kafka did not say that the
topics are still the same."""


class ByPartition(NamedTuple):
    """Gauges with the label ``partition``. They have the partitions that this worker has now."""

    lag_events: PartitionGauge
    """As ``lag``: which partitions, and how much there is to do."""
    lag: PartitionGauge
    """Rises steadily: the worker is saturated; start another one, up to as many as there are partitions. One partition
    alone: it waits, or one account has most of the events."""
    newest_event: PartitionGauge
    """`time()` minus this is the age of the newest event. Old in business hours: the switches of these accounts publish
    nothing. The stamp of a broker, or the time of the event if producers stamp."""
    restored: PartitionGauge
    """Below 1 for long: the changelog is large or the broker slow. It does not move: see the log."""
    changelog_entries: PartitionGauge
    """What a restore would read if Kafka compacted nothing since the last one: for the time of the next takeover."""
    commit_age: PartitionGauge
    """Above 60: flushes or commits fail; the log says why. So much is read again after a crash."""

    @classmethod
    def create(cls, registry: CollectorRegistry) -> ByPartition:
        """Make these gauges and register them in ``registry``."""

        def gauge(name: str, documentation: str) -> PartitionGauge:
            return PartitionGauge(f"ecounters_partition_{name}", documentation, registry)

        return cls(
            lag_events=gauge("lag_events", "Offsets between what is counted and the end of the partition"),
            lag=gauge("lag_seconds", "How far behind its end the partition is counted; 0 at the end"),
            newest_event=gauge("newest_event_timestamp_seconds", "When the newest event counted came; 0 if none has"),
            restored=gauge("restored_ratio", "How much of the changelog the restore has read; 1 once it is over"),
            changelog_entries=gauge("changelog_entries", "Entries read by the last restore and written since"),
            commit_age=gauge("commit_age_seconds", "Time since all counted by then was committed; 0 if all is"),
        )


class Standby(NamedTuple):
    """What a worker follows of others' partitions."""

    partitions: Gauge
    """By status. "reading" for long: the changelogs are large; what cannot be followed is in the log. 0 of both
    although ECOUNTERS_STANDBYS is set: there is no other worker."""
    lag: Gauge
    """The largest. Rises: this worker has too much to do; start another one. So much is read before a takeover."""
    entries: Counter
    """Each takes some 5 µs of processor time. Add it up before ECOUNTERS_STANDBYS is raised."""

    @classmethod
    def create(cls, registry: CollectorRegistry) -> Standby:
        """Make these metrics and register them in ``registry``."""
        return cls(
            partitions=Gauge(
                "ecounters_standby_partitions", "Partitions of others that are followed", ["status"], registry=registry
            ),
            lag=Gauge("ecounters_standby_lag_entries", "Offsets of a changelog not followed yet", registry=registry),
            entries=Counter("ecounters_standby_entries", "Changelog entries followed", registry=registry),
        )


class Platform(NamedTuple):
    """What a worker runs on and with: HTTP, Redis, the group, the release."""

    requests: Counter
    """By route, method and code. 5xx: the log has the cause, under the id that the response's body gives."""
    probes: Counter
    """Probes and scrapes, by route and code. They are not among the requests. /readyz with 503: the worker starts or
    ends. None at all: the balancer does not look."""
    incomplete: Counter
    """Rises outside of a rebalance: partitions are not read, wait, or have a hole; see ecounters_partitions and
    ecounters_partition_lag_seconds."""
    request_seconds: Histogram
    """By route, without probes, scrapes and streams. Rises: the worker is busy; lower ECOUNTERS_SLICE_MS, or start
    another worker."""
    redis_seconds: Histogram
    """Rises: Redis or the way to it is slow, and so is each request with a token that is not known yet."""
    redis_errors: Counter
    """Rises: Redis failed or did not reply in 2 s. Log-ins stop; sessions that are known go on for
    ECOUNTERS_SESSION_CACHE_S."""
    rebalances: Counter
    """Rises without a worker that starts or ends: workers are slow to send heartbeats; look at
    ecounters_loop_pause_seconds and at Kafka."""
    unowned: Histogram
    """For each partition and rebalance. What Kafka takes to notice a dead worker (ECOUNTERS_SESSION_TIMEOUT_S) comes in
    addition: nobody sees that time. Rises: restores are long; see ecounters_partition_changelog_entries."""
    clock_difference: SmallestGauge
    """Below 0, or above 1 while there is no lag: the clocks of this worker and of a broker differ; look at NTP on both.
    Events are judged and days begin by these clocks. NaN: no event came, or producers stamp."""
    build: Info
    """More than one version for long: an upgrade has stopped."""

    @classmethod
    def create(cls, registry: CollectorRegistry, worker: str) -> Platform:
        """Make these metrics and register them in ``registry``. ``worker``: which one this is, for ``build``."""
        build = Info(
            "ecounters_build",
            "The release, compiled or pure, its Python, and the name of the worker",
            registry=registry,
        )
        python = platform.python_version()
        build.info({"version": version("ecounters"), "build": BUILD, "python": python, "worker": worker})
        return cls(
            requests=Counter(
                "ecounters_requests", "HTTP requests answered", ["route", "method", "code"], registry=registry
            ),
            probes=Counter("ecounters_probes", "Probes and scrapes answered", ["route", "code"], registry=registry),
            incomplete=Counter(
                "ecounters_incomplete_replies", "Replies with X-Ecounters-Complete: false", registry=registry
            ),
            request_seconds=Histogram(
                "ecounters_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS_S, registry=registry
            ),
            redis_seconds=Histogram(
                "ecounters_redis_seconds", "Time of one batch of look-ups", buckets=_BUCKETS_S, registry=registry
            ),
            redis_errors=Counter("ecounters_redis_errors", "Batches of look-ups that failed", registry=registry),
            rebalances=Counter("ecounters_rebalances", "Assignments of partitions received", registry=registry),
            unowned=Histogram(
                "ecounters_partition_unowned_seconds", "From the begin of a rebalance until a partition is read again",
                buckets=_LONG_BUCKETS_S, registry=registry,
            ),
            clock_difference=SmallestGauge(
                "ecounters_clock_difference_seconds",
                "This worker's clock minus a broker's stamp of an event just read: smallest lately", registry,
            ),
            build=build,
        )  # fmt: skip


class Metrics(NamedTuple):
    """The metrics of one worker, on a registry of their own: no metric is global.

    The text below a field tells the operator how to react when the metric moves. deploy/README.md gives this advice in
    words of its own: change both. Its table of metrics is generated from the descriptions in ``create``.
    """

    registry: CollectorRegistry
    accepted: Counter
    """Flat although calls run: look at ecounters_partition_lag_seconds; if that is low, no switch publishes."""
    refused: Counter
    """Rises: `ecounters dlq` shows the refused events; their headers say what is wrong with each."""
    refused_ratio: Gauge
    """Alert on this one, for example above 0.01: a switch publishes events that cannot be counted, so calls are missing
    from the counters. `ecounters dlq --since 10m` shows which and why. When the cause is removed (a wrong clock, an
    event type that this release does not know), `ecounters dlq --replay` counts them."""
    misrouted: Counter
    """Rises: a producer does not partition by murmur2(userId); mend it. The events are counted, at twice the cost: each
    is read, sent to its partition and read again."""
    skipped: Counter
    """One offset for each transaction of a producer is normal, its marker, and one for each event of an aborted
    transaction. Rises faster: Kafka has deleted events before they were counted; set the topic's retention longer than
    the longest outage."""
    holes: Gauge
    """Above 0: Kafka has deleted events before they were counted, also while no worker ran. Counters of that time are
    too small for ever, and replies for it say that they are incomplete. Set the topic's retention longer than the
    longest outage. It falls when that time is older than what is kept."""
    reaped: Gauge
    """Rises: switches lose call.ended events, or long calls send no heartbeats. Calls end for silence after
    ECOUNTERS_MAX_CALL_MS. A gauge, because it can fall: a partition begins at 0 at each restore, and is taken out when
    it moves to another worker."""
    orphaned: Gauge
    """Rises: switches lose call.started events. A gauge, as ecounters_calls_reaped."""
    live_calls: Gauge
    """For capacity planning; an alert on 0 in business hours notices a switch that went silent. Of a worker with more
    than 10,000 accounts, this gauge and those of suspected and kept calls are up to a minute old."""
    suspected_calls: Gauge
    """Rises: as for ecounters_calls_reaped, and hours earlier (ECOUNTERS_SUSPECT_AFTER_MS)."""
    kept_calls: Gauge
    """The worker's memory grows with it. Too high: start another worker, or lower ECOUNTERS_LINGER_MS."""
    partitions: Gauge
    """Status "restoring" for long: the changelog is large or the broker slow; see ecounters_restore_entries. Status
    "waiting" above 0: alert on it. The counters of that partition stand still until somebody acts; the log and /readyz
    say of which partition, why, and which command helps."""
    topic_partitions: Gauge
    """More than have an ecounters_partition_lag_seconds at some worker: nobody owns the others."""
    topics_changed: Gauge
    """Above 0: alert on it. A topic was deleted, made anew or given more partitions while this worker uses it. Counters
    of all, or of some users, stand still, and replies for them say so. The log and /readyz say what has changed, and
    which command helps."""
    kept_letters: Gauge
    """Above 0: alert on it. The topic of dead letters refuses them; the log names the right that is missing. Counting
    goes on, but nothing of that partition is saved; with 64 MB unsaved (four times ECOUNTERS_FLUSH_BYTES) it waits."""
    flushes: Histogram
    """Rises: the brokers acknowledge slowly; look at their disks and replication. A transaction that takes 15 s fails,
    and its partition is restored."""
    flushed_entries: Counter
    """Many entries for each event: ECOUNTERS_FLUSH_INTERVAL_MS is short; longer intervals write less."""
    flushed_bytes: Counter
    """Divided by the count of ecounters_flush_seconds: the size of a flush. Dead letters are in it."""
    flush_failures: Counter
    """By reason. "failed": the brokers; the log has the error. "unconfirmed": Kafka does not reply, or topics changed.
    "fenced" is normal after a rebalance that this worker saw late; at other times two workers have the same partition:
    look for a second deployment with the same ECOUNTERS_APP_ID."""
    left_out: Counter
    """Above 0: a record was larger than Kafka takes. The log says of which kind, and in which partition. What a
    changelog entry holds is missing after the next restore. Raise max.message.bytes of that topic (`ecounters topics`
    says to what), and count again from the log into a new ECOUNTERS_APP_ID."""
    restored_entries: Counter
    """Rises with each restore: at a start, a rebalance, a failed flush. In between it stands still; if it does not, the
    log says why flushes fail."""
    hops: Counter
    """By result, of requests that another worker must answer. "unreachable": that worker is down, or its
    ECOUNTERS_ADVERTISE does not lead to it. "not_trusted": ECOUNTERS_SECRET or the clocks of the two differ.
    "not_ours": something else listens at that address, or a worker of another release, such as 0.2.0, which signs no
    replies. "not_mine" is normal in a rebalance."""
    loop_pause: Gauge
    """Above 0.05: something kept the worker from requests and heartbeats; usually other processes have the processor.
    Else a partition has more than was tried: report it, with what it has. Each look at the metrics begins anew, so let
    one Prometheus look."""
    listeners: Gauge
    """Each takes a file descriptor and about 20 KB. Near the limit of open files: start another worker."""
    by_partition: ByPartition
    standbys: Standby
    platform: Platform
    accounts: AccountSeries
    """For dashboards of single accounts. ecounters_accounts_left_out above 0: there are more accounts than
    ECOUNTERS_METRICS_ACCOUNTS_MAX, or Redis did not tell the time zone of some."""

    @classmethod
    def create(cls, registry: CollectorRegistry, worker: str = "") -> Metrics:
        """Make all metrics and register them in ``registry``. ``worker``: which one this is.

        Series whose labels are known are 0 from the start: Prometheus' ``rate`` sees no rise from nothing to 1.
        No metric has a ``_created`` series, which would double all counters.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]
        return cls(
            registry=registry,
            accepted=Counter("ecounters_events_accepted", "Events counted", registry=registry),
            refused=_by_reason("ecounters_events_refused", "Events dead-lettered", REASONS, registry),
            refused_ratio=Gauge("ecounters_refused_ratio", "Refused of all read in the last minute", registry=registry),
            misrouted=Counter("ecounters_events_misrouted", "Events sent on to their partition", registry=registry),
            skipped=Counter("ecounters_offsets_skipped", "Offsets without an event", registry=registry),
            holes=Gauge("ecounters_holes", "Times whose events Kafka deleted uncounted", registry=registry),
            reaped=Gauge("ecounters_calls_reaped", "Calls ended for silence since they came", registry=registry),
            orphaned=Gauge("ecounters_calls_orphaned", "Calls dropped without a start", registry=registry),
            live_calls=Gauge("ecounters_live_calls", "Live calls on this worker", registry=registry),
            suspected_calls=Gauge("ecounters_suspected_calls", "Live calls not heard of for long", registry=registry),
            kept_calls=Gauge("ecounters_kept_calls", "Call records in memory", registry=registry),
            partitions=Gauge("ecounters_partitions", "Partitions of this worker", ["status"], registry=registry),
            topic_partitions=Gauge(
                "ecounters_topic_partitions",
                "Partitions of the topic of events, at the worker's start",
                registry=registry,
            ),
            topics_changed=Gauge(
                "ecounters_topics_changed", "1 if a topic was deleted, made anew or grown", registry=registry
            ),
            kept_letters=Gauge("ecounters_dead_letters_kept", "Kept until they can be written", registry=registry),
            flushes=Histogram(
                "ecounters_flush_seconds", "Time of one flush until acknowledged", buckets=_BUCKETS_S, registry=registry
            ),
            flushed_entries=Counter("ecounters_flush_entries", "Changelog entries written", registry=registry),
            flushed_bytes=Counter("ecounters_flush_bytes", "Bytes of changelogs and dead letters", registry=registry),
            flush_failures=_by_reason("ecounters_flush_failures", "Flushes that failed", FLUSH_FAILURES, registry),
            left_out=Counter(
                "ecounters_records_left_out", "Entries and dead letters larger than Kafka takes", registry=registry
            ),
            restored_entries=Counter("ecounters_restore_entries", "Changelog entries read", registry=registry),
            hops=Counter("ecounters_hops", "Users asked for at other workers", ["result"], registry=registry),
            loop_pause=Gauge(
                "ecounters_loop_pause_seconds", "Longest pause of the event loop since the last look", registry=registry
            ),
            listeners=Gauge("ecounters_listeners", "Streams that are listened to", registry=registry),
            by_partition=ByPartition.create(registry),
            standbys=Standby.create(registry),
            platform=Platform.create(registry, worker),
            accounts=AccountSeries(registry),
        )


def _by_reason(name: str, documentation: str, reasons: Iterable[str], registry: CollectorRegistry) -> Counter:
    """A counter with the label ``reason``, which is 0 for each of these."""
    counter = Counter(name, documentation, ["reason"], registry=registry)
    for reason in reasons:
        counter.labels(reason)
    return counter
