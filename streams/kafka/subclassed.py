"""The private members of foreign classes that our subclasses override, or use through ``self``.

``streams.kafka.internals`` has all other uses of private members. tests/unit/kafka/test_internals.py asserts both.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Subclassed(NamedTuple):
    """A private member of a foreign class that a subclass of ours overrides, or uses through ``self``."""

    ours: str
    """The subclass, as ``module:Class``."""
    member: str
    """The member's name."""
    overridden: bool
    """True: the subclass defines the member anew. False: it only uses it."""
    why: str
    """What the member does, or what the subclass needs it for."""


_THREAD: Final = "streams.kafka.consumer_thread:ConsumerThread"
_CONSUMER: Final = "streams.kafka.consumer:Consumer"
_CLIENT: Final = "streams.kafka.shared_clients:SharedClient"
_PRODUCER: Final = "streams.kafka.shared_clients:SharingProducer"
_ASSIGNOR: Final = "streams.kafka.group:Assignor"
_TABLES: Final = "streams.engine.table_manager:StateManager"
_SERVER: Final = "streams.web.server:Server"
_CONNECTION: Final = "streams.web.server:Connection"
_RUNNER: Final = "streams.web.server:Runner"

SUBCLASSED: Final = (
    Subclassed(_THREAD, "_create_worker_consumer", True, "makes the aiokafka consumer, which is not started yet"),
    Subclassed(_THREAD, "_fetch_records", True, "gives batches in place of lists of records"),
    Subclassed(_THREAD, "_commit", True, "a commit that fails is a warning, not a crash"),
    Subclassed(_THREAD, "_consumer", False, "the aiokafka consumer, or None: on_thread_stop may come before on_start"),
    Subclassed(_THREAD, "_ensure_consumer", False, "the aiokafka consumer; raises if there is none"),
    Subclassed(_CONSUMER, "_new_consumer_thread", True, "makes our ConsumerThread"),
    Subclassed(_CONSUMER, "_drain_messages", True, "one message per batch; no gaps and no acknowledgements to keep"),
    Subclassed(_CONSUMER, "_thread", False, "the ConsumerThread"),
    Subclassed(_CONSUMER, "_get_active_partitions", False, "the assigned partitions that are not paused"),
    Subclassed(_CONSUMER, "_getmany", False, "calls ConsumerThread._fetch_records in the consumer's thread"),
    Subclassed(_CONSUMER, "_unacked_messages", False, "Faust waits until it is empty: ack() takes messages out"),
    Subclassed(_CONSUMER, "_commit", False, "calls ConsumerThread._commit in the consumer's thread"),
    Subclassed(_CLIENT, "_get_conn", True, "one attempt to connect for all that need the connection"),
    Subclassed(_CLIENT, "_conns", False, "the connections, by (broker, group)"),
    Subclassed(_PRODUCER, "_metadata", False, "the client's cluster; the constructor puts in the shared client's"),
    Subclassed(_PRODUCER, "_message_accumulator", False, "likewise one on the shared client"),
    Subclassed(_PRODUCER, "_sender", False, "likewise"),
    Subclassed(_PRODUCER, "_txn_manager", False, "its transactions, which these two share"),
    Subclassed(_ASSIGNOR, "_compress", False, "the format of an assignment's user data"),
    Subclassed(_ASSIGNOR, "_decompress", False, "likewise"),
    Subclassed(_ASSIGNOR, "_url", False, "this worker's URL, as Faust tells it to the group"),
    Subclassed(_TABLES, "_tables_finalized", False, "on_start sets it as Faust's does: Faust's start waits for it"),
    Subclassed(_TABLES, "_tables_registered", False, "likewise"),
    Subclassed(_SERVER, "_loop", False, "an argument of the connection's constructor"),
    Subclassed(_SERVER, "_kwargs", False, "likewise"),
    Subclassed(_CONNECTION, "_reading_paused", False, "whether aiohttp waits for the handler to read the body"),
    Subclassed(_RUNNER, "_make_server", True, "makes our Server"),
)
