"""Everything private of aiokafka, Faust and aiohttp that the project relies on is there, as the installed versions are.

After an upgrade a failure names what has vanished and where it is used: look for its successor in the release notes.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import faust
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState, TopicPartitionState
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from faust.assignor import PartitionAssignor
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver

from streams.kafka import internals
from streams.kafka.subclassed import SUBCLASSED

ROOT: Final = Path(__file__).parents[3]
ATTRIBUTE: Final = "attribute"

RELIED_ON: Final[dict[type, dict[str, str]]] = {
    AIOKafkaConsumer: {
        "_closed": ATTRIBUTE,
        "_coordinator": ATTRIBUTE,
        "_fetch_max_wait_ms": ATTRIBUTE,
        "_fetcher": ATTRIBUTE,
        "_isolation_level": ATTRIBUTE,
        "_subscription": ATTRIBUTE,
    },
    Fetcher: {
        "_client": ATTRIBUTE,
        "_closed": ATTRIBUTE,
        "_create_fetch_waiter": "(self)",
        "_fetch_max_wait_ms": ATTRIBUTE,
        "_max_partition_fetch_bytes": ATTRIBUTE,
        "_notify": "(self, future)",
        "_proc_fetch_request": "async (self, assignment, node_id, request)",
        "_records": ATTRIBUTE,
        "_set_error": "(self, tp, error)",
        "_subscriptions": ATTRIBUTE,
        "_wait_consume_future": ATTRIBUTE,
    },
    FetchResult: {
        "_partition_records": ATTRIBUTE,
        "_update_position": "(self)",
        "check_assignment": "(self, tp)",
        "has_more": "(self)",
    },
    FetchError: {"check_raise": "(self)"},
    PartitionRecords: {
        "_aborted_producers": ATTRIBUTE,
        "_aborted_transactions": ATTRIBUTE,
        "_consume_aborted_up_to": "(self, batch_offset)",
        "_records": ATTRIBUTE,
        "_records_iterator": ATTRIBUTE,
        "next_fetch_offset": ATTRIBUTE,
    },
    SubscriptionState: {
        "fetch_context": "(self)",
        "is_assigned": "(self, tp)",
        "reassignment_in_progress": ATTRIBUTE,
        "subscription": ATTRIBUTE,
    },
    Assignment: {"active": ATTRIBUTE, "state_value": "(self, tp)"},
    TopicPartitionState: {"_position": ATTRIBUTE, "highwater": ATTRIBUTE, "lso": ATTRIBUTE, "timestamp": ATTRIBUTE},
    GroupCoordinator: {
        "_coordination_task": ATTRIBUTE,
        "_group_instance_id": ATTRIBUTE,
        "_on_join_complete": "async (self, generation, member_id, protocol, member_assignment_bytes)",
        "request_rejoin": "(self)",
    },
    AIOKafkaProducer: {
        "_message_accumulator": ATTRIBUTE,
        "_metadata": ATTRIBUTE,
        "_sender": ATTRIBUTE,
        "_txn_manager": ATTRIBUTE,
        "client": ATTRIBUTE,
    },
    MessageAccumulator: {
        "__init__": (
            "(self, cluster, batch_size, compression_type, batch_ttl, *, txn_manager=None, loop=None, linger_ms=0)"
        ),
    },
    Sender: {
        "__init__": "(self, client, *, acks, txn_manager, message_accumulator, retry_backoff_ms, request_timeout_ms)",
        "sender_task": ATTRIBUTE,
    },
    TransactionManager: {
        "_sequence_numbers": ATTRIBUTE,
        "maybe_add_partition_to_txn": "(self, tp)",
        "producer_id": ATTRIBUTE,
        "sequence_number": "(self, tp)",
    },
    BatchBuilder: {"_buffer": ATTRIBUTE},
    AIOKafkaClient: {
        "_conns": ATTRIBUTE,
        "_get_conn": "async (self, node_id, *, group=<ConnectionGroup.DEFAULT: 0>, no_hint=False)",
        "_wait_on_metadata": "async (self, topic)",
        "cluster": ATTRIBUTE,
        "force_metadata_update": "(self)",
        "send": "async (self, node_id, request, *, group=<ConnectionGroup.DEFAULT: 0>)",
    },
    MemoryRecords: {"has_next": ATTRIBUTE, "next_batch": ATTRIBUTE},
    DefaultRecordBatch: {
        "base_offset": ATTRIBUTE,
        "is_control_batch": ATTRIBUTE,
        "next_offset": ATTRIBUTE,
        "producer_id": ATTRIBUTE,
    },
    faust.App: {"_crashed": ATTRIBUTE, "_fetcher": ATTRIBUTE},
    driver.AIOKafkaConsumerThread: {
        "_commit": "async (self, offsets)",
        "_consumer": ATTRIBUTE,
        "_create_worker_consumer": "(self, transport)",
        "_ensure_consumer": "(self)",
        "_fetch_records": "async (self, consumer, active_partitions, timeout=None, max_records=None)",
    },
    driver.Consumer: {
        "_commit": "async (self, offsets)",
        "_drain_messages": "async (self, fetcher)",
        "_get_active_partitions": "(self)",
        "_getmany": "async (self, active_partitions, timeout)",
        "_new_consumer_thread": "(self)",
        "_thread": ATTRIBUTE,
        "_unacked_messages": ATTRIBUTE,
    },
    PartitionAssignor: {"_compress": "(raw)", "_decompress": "(compressed)", "_url": ATTRIBUTE},
    TableManager: {"_tables_finalized": ATTRIBUTE, "_tables_registered": ATTRIBUTE},
    web.Server: {"_kwargs": ATTRIBUTE, "_loop": ATTRIBUTE},
    web.RequestHandler: {"_reading_paused": ATTRIBUTE},
    web.AppRunner: {"_make_server": "async (self)"},
}
"""class -> member -> its parameters, or ATTRIBUTE. Of what has no underscore, what no documentation promises."""

HOLDS: Final[dict[tuple[type, str], type]] = {
    (AIOKafkaConsumer, "_coordinator"): GroupCoordinator,
    (AIOKafkaConsumer, "_fetcher"): Fetcher,
    (AIOKafkaConsumer, "_subscription"): SubscriptionState,
    (AIOKafkaProducer, "_sender"): Sender,
    (AIOKafkaProducer, "_txn_manager"): TransactionManager,
    (Fetcher, "_client"): AIOKafkaClient,
    (Fetcher, "_subscriptions"): SubscriptionState,
    (FetchResult, "_partition_records"): PartitionRecords,
    (PartitionRecords, "_records"): MemoryRecords,
}
"""What an attribute holds, so that ``consumer._fetcher._client`` is known to be one of Fetcher."""

NAMES: Final = {owner.__name__: owner for owner in RELIED_ON} | {"AppT": faust.App}
ROWS: Final = [(owner, name) for owner, members in RELIED_ON.items() for name in members]


def form_of(member: Any) -> str:
    """A method's parameters as they are written, without types; ``async`` before them if it is to be awaited."""
    signature = inspect.signature(member)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    text = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return f"async {text}" if inspect.iscoroutinefunction(member) else text


# ------------------------------------------------------------------------------------------------ what is installed

MISSING: Final = object()
Found = dict[tuple[type, str], Any]


async def look() -> Found:
    """(class, member) -> its value on an object of that class, made without a broker; MISSING if it has none.

    No private name is used here, so that one which has vanished fails by itself, where it is looked for.
    """
    tp = TopicPartition("events", 0)
    client, subscriptions, assignment = AIOKafkaClient(), SubscriptionState(), Assignment([tp])
    source = PartitionRecords(tp, records := MemoryRecords(b""), [], 0, None, None, False, 0)
    app: Any = faust.App("a", broker="kafka://127.0.0.1:1", canonical_url="http://127.0.0.1:2")
    producer, consumer = AIOKafkaProducer(transactional_id="a"), AIOKafkaConsumer()
    fetcher, coordinator = Fetcher(client, subscriptions), GroupCoordinator(client, subscriptions)
    (thread,) = (made for made in vars(app.consumer).values() if isinstance(made, driver.AIOKafkaConsumerThread))
    objects = (
        *(client, subscriptions, assignment, assignment.state_value(tp), source, records),
        *(producer, producer.create_batch(), *vars(producer).values(), consumer),
        *(fetcher, coordinator, app.consumer, thread, app),
        FetchResult(tp, assignment=assignment, partition_records=source, backoff=0),
        FetchError(error=KeyError(), backoff=0),
        *(PartitionAssignor(app), TableManager(app)),
        *(web.Server(cast(Any, None)), web.AppRunner(web.Application())),
    )
    found = {}
    for owner, name in ROWS:  # in the place of a compiled record batch, of which there is none: its class
        at = next((made for made in objects if isinstance(made, owner)), owner)
        found[owner, name] = getattr(at, name, MISSING)
    await asyncio.gather(fetcher.close(), coordinator.close(), producer.stop(), consumer.stop(), client.close())
    thread.thread_loop.close()
    return found


@pytest.fixture(scope="module")
def found() -> Found:
    """See ``look``."""
    return asyncio.run(look())


def vanished(owner: type, name: str) -> str:
    """What is to be said of a member that is not there as it was."""
    package = owner.__module__.split(".")[0]
    release = version({"faust": "faust-streaming"}.get(package, package))
    where = sorted(uses().get((owner, name), ())) or ["streams/kafka"]
    return f"{package} {release}: {owner.__module__}.{owner.__qualname__}.{name}, which {', '.join(where)} relies on"


@pytest.mark.parametrize(("owner", "name"), ROWS, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_what_is_relied_on_is_there(found: Found, owner: type, name: str) -> None:
    """On an object as it is made, and with the parameters by which it is called or overridden."""
    assert found[owner, name] is not MISSING, f"{vanished(owner, name)}, is gone"
    form = RELIED_ON[owner][name]
    if form != ATTRIBUTE:
        assert form_of(getattr(owner, name)) == form, f"{vanished(owner, name)}, has other parameters now"


def test_attributes_hold_what_the_table_says(found: Found) -> None:
    """As far as they are set before there is a broker: a consumer gets its fetcher and coordinator when it starts."""
    held = {row: type(found[row]) for row in HOLDS}
    later = {(AIOKafkaConsumer, "_coordinator"): type(None), (AIOKafkaConsumer, "_fetcher"): type(None)}
    assert held == HOLDS | later


# ------------------------------------------------------------------------------------------- what the project uses


def private(name: str) -> bool:
    """Whether a name is private."""
    return name.startswith("_") and not name.endswith("__")


def of_functions(tree: ast.Module) -> Iterator[tuple[type | None, str, str]]:
    """(class or None if it cannot be told, private member, function) of every use in internals.py."""
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        types = {at.arg: NAMES.get(ast.unparse(at.annotation)) for at in function.args.args if at.annotation}

        def type_of(node: ast.AST, types: dict[str, type | None] = types) -> type | None:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
                return type_of(node.args[1])
            if isinstance(node, ast.Attribute) and (owner := type_of(node.value)) is not None:
                return HOLDS.get((owner, node.attr))
            return types.get(node.id) if isinstance(node, ast.Name) else None

        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                types[node.targets[0].id] = type_of(node.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and private(node.attr):
                yield type_of(node.value), node.attr, function.name


@cache
def set_in(owner: type) -> frozenset[str]:
    """All members that a class itself defines, declares, or sets on ``self`` in its source."""
    tree = ast.parse(inspect.getsource(owner))
    on_self = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    return frozenset(on_self | vars(owner).keys() | vars(owner).get("__annotations__", {}).keys())


def foreign(owner: type) -> list[type]:
    """The classes of these libraries that a class is made of."""
    return [base for base in owner.__mro__ if base.__module__.split(".")[0] in ("aiohttp", "aiokafka", "faust", "mode")]


def of_subclasses() -> Iterator[tuple[str, type, str, bool]]:
    """(our class, their class, private member, whether it is overridden) of all that our subclasses touch of theirs."""
    for path in sorted((ROOT / "streams").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for tree in (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)):
            owner: type = getattr(importlib.import_module(module), tree.name)
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            of_self = {
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls")
            }
            theirs = foreign(owner)
            for name in sorted(filter(private, defined | of_self)):
                if any(name in set_in(base) for base in theirs):
                    yield f"{module}:{tree.name}", theirs[0], name, name in defined


@cache
def uses() -> dict[tuple[type | None, str], set[str]]:
    """(their class, private member) -> where the project uses it."""
    found: dict[tuple[type | None, str], set[str]] = defaultdict(set)
    for owner, name, function in of_functions(ast.parse(inspect.getsource(internals))):
        found[owner, name].add(f"{internals.__name__}:{function}")
    for ours, theirs, name, _ in of_subclasses():
        found[theirs, name].add(ours)
    return found


def test_everything_private_that_is_used_is_in_the_table() -> None:
    """A new use is entered in RELIED_ON, and what is not used any more goes from it."""
    used, listed = set(uses()), {(owner, name) for owner, name in ROWS if private(name)}
    assert not used - listed, f"not in RELIED_ON: {[(row, sorted(uses()[row])) for row in used - listed]}"
    assert not listed - used, f"not used any more: {listed - used}"


def test_internals_lists_what_our_subclasses_override_and_use() -> None:
    """SUBCLASSED is whole and right in what is overridden. A library's new private name that ours hides is found."""
    listed = {(row.ours, row.member, row.overridden) for row in SUBCLASSED}
    assert listed == {(ours, name, overridden) for ours, _, name, overridden in of_subclasses()}
    assert len(listed) == len(SUBCLASSED)


def test_the_checks_see_what_they_are_for() -> None:
    """Planted uses are found: of a parameter, of a variable, through a chain and a cast, and of nobody knows what."""
    tree = ast.parse(
        "def one(consumer: AIOKafkaConsumer, app: AppT, other: Any):\n"
        "    fetcher = consumer._fetcher\n"
        "    fetcher._planted = fetcher._client._chained\n"
        "    cast(Any, app)._cast(other._unknown)\n"
    )
    assert {(owner, name) for owner, name, _ in of_functions(tree)} == {
        (AIOKafkaConsumer, "_fetcher"), (Fetcher, "_planted"), (Fetcher, "_client"), (AIOKafkaClient, "_chained"),
        (faust.App, "_cast"), (None, "_unknown"),
    }  # fmt: skip
    assert {"_records", "_notify"} <= set_in(Fetcher)
    message = vanished(Fetcher, "_create_fetch_waiter")
    assert "aiokafka.consumer.fetcher.Fetcher._create_fetch_waiter" in message
    assert version("aiokafka") in message and "streams.kafka.internals:until_fetched" in message
