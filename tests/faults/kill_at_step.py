"""Starts a command of ``ecounters``, mostly ``worker``, so that it signals itself at a chosen step of its work.

``python -m tests.faults.kill_at_step --at sent --nth 3 [--signal STOP] [--clock-ahead 3600] worker`` runs the worker in
this process. The third time that it passes the point "sent", it sends itself SIGKILL (or SIGSTOP, or SIGTERM). The
product has no code for this: methods are wrapped before the command starts. Of compiled modules, only what they look up
by name can be wrapped: functions of msgspec that they call, and what others import from them.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Point:
    """A step of a worker or an import: before or after a call of ``name`` (module:Class.method or module:function).

    ``wanted``: which calls count, by their arguments. ``most``: a worker passes the point at least this often within a
    few seconds, while events arrive. ``what``: the step in words.
    """

    name: str
    after: bool
    most: int
    what: str
    wanted: Callable[..., bool] = lambda *_, **__: True


def _request(kind: str) -> Callable[..., bool]:
    """A condition: a connection of a changelog writer sends a request of that kind."""

    def wanted(connection: Any, request: Any, **_: Any) -> bool:
        return "-state-" in str(connection._client_id) and type(request).__name__.startswith(kind)

    return wanted


_SEND: Final = "aiokafka.conn:AIOKafkaConnection.send"
_ENTRIES: Final = "ecounters.changelog.entries"
_CONSUMER: Final = "streams.kafka.consumer:Consumer"
_THREAD: Final = "streams.kafka.consumer_thread:ConsumerThread"
_FLUSHER: Final = "streams.engine.flushing:PartitionFlusher"
_TABLE: Final = "streams.engine.table:StateTable"
_HANDOVER: Final = "streams.web.handover:Handover"
_WRITER: Final = "streams.kafka.changelog_writer:ChangelogWriter"
_TAKEOVER: Final = "streams.kafka.changelog_writer:ChangelogTakeover"

POINTS: Final = {
    "apply": Point("streams.engine.applying:BatchApplier._apply_step", True, 60, "events applied, not flushed"),
    "cut": Point(f"{_FLUSHER}._collect_changes", True, 20, "changes collected for a flush, nothing sent of them"),
    "begin": Point("aiokafka:AIOKafkaProducer.begin_transaction", True, 20, "a transaction begun, nothing sent in it"),
    "sent": Point(_SEND, True, 20, "a flush sent, its acknowledgement not waited for", _request("ProduceRequest")),
    "acked": Point(
        "aiokafka.producer.sender:SendProduceReqHandler.handle_response",
        False, 20, "a flush acknowledged, not committed",
        lambda handler, _: handler._sender._txn_manager is not None,
    ),
    "commit-sent": Point(_SEND, True, 20, "a commit sent, its answer not waited for", _request("EndTxnRequest")),
    "written": Point(f"{_WRITER}.write", True, 10, "a transaction committed, the worker does not know yet"),
    "offset-commit": Point(f"{_THREAD}._commit", False, 5, "before an offset's commit"),
    "offset-committed": Point(f"{_THREAD}._commit", True, 5, "after an offset's commit"),
    "republish": Point(
        "streams.engine.events_topic:EventsTopic.republish", True, 3, "misrouted events sent on, the flush not begun",
        lambda _, refused: bool(refused),
    ),
    "open": Point(f"{_TAKEOVER}.open", True, 2, "a changelog taken over, nothing read of it"),
    "read": Point(f"{_ENTRIES}:keep_last", True, 3, "a changelog read in part"),
    "restore": Point(f"{_ENTRIES}:_call_value", True, 50, "a changelog read, the state made in part"),
    "revoke": Point(f"{_CONSUMER}.on_partitions_revoked", False, 2, "a rebalance begun, nothing saved"),
    "let-go": Point(f"{_TABLE}.flush_before_revoke", True, 2, "saved for a rebalance or an end, not committed"),
    "assigned": Point(f"{_TABLE}.on_rebalance", True, 2, "partitions assigned, no flow yet"),
    "keep": Point(f"{_TABLE}._keep", True, 1, "a partition given up, its state kept to answer from"),
    "announce": Point(f"{_HANDOVER}.announce", False, 1, "a partition restored, the owner before not told yet"),
    "taken": Point(f"{_HANDOVER}.hear", True, 1, "told that another worker has the partition"),
    "stop": Point(f"{_TABLE}.on_stop", False, 1, "told to end, nothing saved"),
    "import": Point("streams.tools.state.importing:_with_position", False, 2, "a partition about to be imported"),
}  # fmt: skip


class SignalAtPass:
    """Sends this process a signal when it has been called ``nth`` times, and never again."""

    def __init__(self, nth: int, number: signal.Signals) -> None:
        self._left = nth
        self._signal = number

    def __call__(self) -> None:
        """Count one pass."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._signal)


def owner_of(point: Point) -> tuple[Any, str]:
    """(class or module, name of the function) of a point. AttributeError if there is no such function."""
    module, _, path = point.name.partition(":")
    owner_name, _, method = path.rpartition(".")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, owner_name) if owner_name else owner
    getattr(owner, method)
    return owner, method


def call_at_point(point: Point, strike: SignalAtPass) -> None:
    """Wrap the point's function so that ``strike`` is called at each pass. AttributeError if there is none."""
    owner, method = owner_of(point)
    was = getattr(owner, method)

    def strike_if(after: bool, args: Any, options: Any) -> None:
        if after == point.after and point.wanted(*args, **options):
            strike()

    async def waiting(*args: Any, **options: Any) -> Any:
        strike_if(False, args, options)
        result = await was(*args, **options)
        strike_if(True, args, options)
        return result

    def at_once(*args: Any, **options: Any) -> Any:
        strike_if(False, args, options)
        result = was(*args, **options)
        strike_if(True, args, options)
        return result

    setattr(owner, method, waiting if inspect.iscoroutinefunction(was) else at_once)


def launcher_at(at: str, nth: int, *, how: str = "KILL") -> list[str]:
    """The ``launcher`` of a command that signals itself at its ``nth`` pass of the point ``at``."""
    assert at in POINTS, at
    return ["tests.faults.kill_at_step", "--at", at, "--nth", str(nth), "--signal", how]


def launcher_with_clock(seconds: int) -> list[str]:
    """The ``launcher`` of a Worker whose own clock is wrong by so many seconds."""
    return ["tests.faults.kill_at_step", "--clock-ahead", str(seconds)]


def main(args: Sequence[str] | None = None) -> None:
    """Parse the command line, wrap the point, and run the command in this process."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_at_step")
    parser.add_argument("--at", choices=POINTS)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--signal", choices=("KILL", "STOP", "TERM"), default="KILL")
    parser.add_argument("--clock-ahead", type=int, default=0, metavar="SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(args)
    if options.clock_ahead:
        right = time.time
        time.time = lambda: right() + options.clock_ahead
    if options.at:
        call_at_point(POINTS[options.at], SignalAtPass(options.nth, signal.Signals[f"SIG{options.signal}"]))
    from streams.cli import main as run

    sys.exit(run(options.command))


if __name__ == "__main__":
    main()
