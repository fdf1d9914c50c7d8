"""Every Prometheus metric of a worker, in one place. Each says what to do about it when it moves."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics(NamedTuple):
    """The bundle, built once for each worker on a registry of its own."""

    registry: CollectorRegistry
    accepted: Counter
    refused: Counter
    refused_ratio: Gauge
    misrouted: Counter
    skipped: Counter
    reaped: Gauge
    orphaned: Gauge
    live_calls: Gauge
    suspected_calls: Gauge
    kept_calls: Gauge
    partitions: Gauge
    lag_ms: Gauge
    flushes: Histogram
    flushed_entries: Counter
    restored_entries: Counter
    hops: Counter
    requests: Counter
    request_seconds: Histogram
    listeners: Gauge

    @classmethod
    def create(cls, registry: CollectorRegistry) -> Metrics:
        """All metrics, registered."""
        return cls(
            registry=registry,
            # The feed. Flat while calls run: look at lag and at the switches' publishing.
            accepted=Counter("ecounters_events_accepted", "Events counted", registry=registry),
            # By reason. A rise: see what `ecounters.events.dlq` holds; the headers of a message say what is wrong.
            refused=Counter("ecounters_events_refused", "Events dead-lettered", ["reason"], registry=registry),
            # To alert on, say above 0.01: some switch publishes what cannot be counted, and its calls are missing from
            # the counters. `ecounters dlq --since 10m` shows what and why; once the cause has been mended (a clock, a
            # type of event that this release does not know), `ecounters dlq --replay` counts what can be.
            refused_ratio=Gauge("ecounters_refused_ratio", "Refused of all read in the last minute", registry=registry),
            # Above 0: a producer does not partition by murmur2(userId). Counted all the same, but it costs twice.
            misrouted=Counter("ecounters_events_misrouted", "Events sent on to their partition", registry=registry),
            # One for each transaction of a producer is in order. More: Kafka deleted events before they were counted;
            # its retention must be longer than the longest outage.
            skipped=Counter("ecounters_offsets_skipped", "Offsets without an event", registry=registry),
            # A rise: switches lose call.ended events, or long calls send no heartbeats.
            reaped=Gauge("ecounters_calls_reaped", "Calls ended for silence since they came", registry=registry),
            # A rise: switches lose call.started events.
            orphaned=Gauge("ecounters_calls_orphaned", "Calls dropped without a start", registry=registry),
            live_calls=Gauge("ecounters_live_calls", "Live calls on this worker", registry=registry),
            # A rise: as for reaped, two hours earlier.
            suspected_calls=Gauge("ecounters_suspected_calls", "Live calls not heard of for long", registry=registry),
            # Memory follows this number.
            kept_calls=Gauge("ecounters_kept_calls", "Call records in memory", registry=registry),
            # "restoring" for long: the changelog is large, or the broker slow.
            partitions=Gauge("ecounters_partitions", "Partitions of this worker", ["status"], registry=registry),
            # Rising: the worker is saturated; start another one (up to as many as there are partitions).
            lag_ms=Gauge("ecounters_lag_ms", "Largest lag of a partition behind its end", registry=registry),
            flushes=Histogram(
                "ecounters_flush_seconds", "Time of one flush until acknowledged", buckets=_QUICK, registry=registry
            ),
            flushed_entries=Counter("ecounters_flush_entries", "Changelog entries written", registry=registry),
            restored_entries=Counter("ecounters_restore_entries", "Changelog entries read", registry=registry),
            # By result. "unreachable": ECOUNTERS_ADVERTISE of some worker does not lead to it, or it is down;
            # "not_trusted": ECOUNTERS_SECRET or the clocks differ; "not_ours": what is at that address is no worker of
            # this release. "not_mine" comes with each rebalance.
            hops=Counter("ecounters_hops", "Users asked for at other workers", ["result"], registry=registry),
            # By HTTP status. 5xx: the log has the cause under the id that the answer gives.
            requests=Counter("ecounters_requests", "HTTP requests answered", ["status"], registry=registry),
            request_seconds=Histogram("ecounters_request_seconds", "Time to answer", buckets=_QUICK, registry=registry),
            # Each takes a file descriptor and some 20 KB. Towards the limit of files: more workers share them.
            listeners=Gauge("ecounters_listeners", "Streams that are listened to", registry=registry),
        )
