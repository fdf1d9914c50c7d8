"""``Metrics``: every Prometheus metric of a worker, with advice for the operator."""

from __future__ import annotations

from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper limits of the buckets of both histograms, in s."""


class Metrics(NamedTuple):
    """The metrics of one worker, on a registry of their own: no metric is global.

    The text below a field tells the operator how to react when the metric moves. deploy/README.md gives this advice in
    words of its own: change both. Its table of metrics is generated from the descriptions in ``create``.
    """

    registry: CollectorRegistry
    accepted: Counter
    """Flat although calls run: look at ecounters_lag_ms; if that is low, no switch publishes."""
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
    """For capacity planning; an alert on 0 in business hours notices a switch that went silent."""
    suspected_calls: Gauge
    """Rises: as for ecounters_calls_reaped, and hours earlier (ECOUNTERS_SUSPECT_AFTER_MS)."""
    kept_calls: Gauge
    """The worker's memory grows with it. Too high: start another worker, or lower ECOUNTERS_LINGER_MS."""
    partitions: Gauge
    """Status "restoring" for long: the changelog is large or the broker slow; see ecounters_restore_entries. Status
    "waiting" above 0: alert on it. The counters of that partition stand still until somebody acts; the log and /readyz
    say of which partition, why, and which command helps."""
    topics_changed: Gauge
    """Above 0: alert on it. A topic was deleted, made anew or given more partitions while this worker uses it. Counters
    of all, or of some users, stand still, and replies for them say so. The log and /readyz say what has changed, and
    which command helps."""
    lag_ms: Gauge
    """Rises steadily: the worker is saturated; start another one, up to as many as there are partitions."""
    kept_letters: Gauge
    """Above 0: alert on it. The topic of dead letters refuses them; the log names the right that is missing. Counting
    goes on, but nothing of that partition is saved; with 64 MB unsaved (four times ECOUNTERS_FLUSH_BYTES) it waits."""
    flushes: Histogram
    """Rises: the brokers acknowledge slowly; look at their disks and replication. A transaction that takes 15 s fails,
    and its partition is restored."""
    flushed_entries: Counter
    """Many entries for each event: ECOUNTERS_FLUSH_INTERVAL_MS is short; longer intervals write less."""
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
    requests: Counter
    """By HTTP status. 5xx: the log has the cause, under the id that the response's body gives."""
    request_seconds: Histogram
    """Rises: the worker is busy; lower ECOUNTERS_SLICE_MS, or start another worker."""
    loop_pause: Gauge
    """Above 0.05: something kept the worker from requests and heartbeats; usually other processes have the processor.
    Each look at the metrics begins anew, so let one Prometheus look."""
    listeners: Gauge
    """Each takes a file descriptor and about 20 KB. Near the limit of open files: start another worker."""

    @classmethod
    def create(cls, registry: CollectorRegistry) -> Metrics:
        """Make all metrics and register them in ``registry``."""
        return cls(
            registry=registry,
            accepted=Counter("ecounters_events_accepted", "Events counted", registry=registry),
            refused=Counter("ecounters_events_refused", "Events dead-lettered", ["reason"], registry=registry),
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
            topics_changed=Gauge(
                "ecounters_topics_changed", "1 if a topic was deleted, made anew or grown", registry=registry
            ),
            lag_ms=Gauge("ecounters_lag_ms", "Largest lag of a partition behind its end", registry=registry),
            kept_letters=Gauge("ecounters_dead_letters_kept", "Kept while their topic refuses them", registry=registry),
            flushes=Histogram(
                "ecounters_flush_seconds", "Time of one flush until acknowledged", buckets=_BUCKETS_S, registry=registry
            ),
            flushed_entries=Counter("ecounters_flush_entries", "Changelog entries written", registry=registry),
            left_out=Counter(
                "ecounters_records_left_out", "Entries and dead letters larger than Kafka takes", registry=registry
            ),
            restored_entries=Counter("ecounters_restore_entries", "Changelog entries read", registry=registry),
            hops=Counter("ecounters_hops", "Users asked for at other workers", ["result"], registry=registry),
            requests=Counter("ecounters_requests", "HTTP requests answered", ["status"], registry=registry),
            request_seconds=Histogram(
                "ecounters_request_seconds", "Time to answer", buckets=_BUCKETS_S, registry=registry
            ),
            loop_pause=Gauge(
                "ecounters_loop_pause_seconds", "Longest pause of the event loop since the last look", registry=registry
            ),
            listeners=Gauge("ecounters_listeners", "Streams that are listened to", registry=registry),
        )
