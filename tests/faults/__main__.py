"""``make faults``: rounds of faults on a cluster, and a comparison of everything after each round.

The cluster is three nodes of Apache Kafka with three copies, two of which must have a write. A Redis and real workers
run on the same machine. In each round a log with chaos is published all the while. The exit code is 0 only if no
counter and no dead letter differs in any round.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from ecounters.errors import Stop
from tests.faults.environment_rounds import NODES
from tests.faults.growth_rounds import ROUNDS
from tests.faults.network import Network
from tests.faults.round_audit import RoundResult
from tests.faults.testbed import RedisServer, Testbed
from tests.faults.worker_rounds import Round
from tests.support import secured
from tests.support.kafka_cluster import Cluster

SHOWN: Final = 20
KILLS: Final = "kills"


@dataclass(slots=True)
class Row:
    """One row of the table at the end. ``failed``: why the round could not be completed."""

    round: Round
    tally: Counter[str] = field(default_factory=Counter)
    result: RoundResult = field(default_factory=RoundResult)
    failed: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the round was completed and nothing differs."""
        return not (self.failed or self.result.wrong or self.result.dead_letters)


def say(text: str) -> None:
    """Print a line with the time of day."""
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


@dataclass(frozen=True, slots=True)
class World:
    """The servers and the directory that all rounds share."""

    cluster: Cluster
    network: Network
    store: RedisServer
    directory: Path


def play_round(one: Round, times: int, world: World, seed: int) -> Row:
    """Play one round and return its row. Whatever happens, nodes and network work again afterwards."""
    row, began = Row(one), time.monotonic()
    testbed = Testbed(
        world.cluster, world.network, world.store, world.directory / "rounds" / one.name, f"{seed}/{one.name}"
    )
    try:
        testbed.open()
        one.act(testbed, times)
        row.result = testbed.finish()
    except Exception as error:
        row.failed = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        traceback.print_exc()
        testbed.save_worker_states()
    finally:
        row.tally = testbed.tally
        world.network.resume()
        restart_all(world.cluster)
        testbed.close()
    row.seconds = time.monotonic() - began
    return row


def restart_all(cluster: Cluster) -> None:
    """Resume and start all nodes that a round has left paused or dead."""
    for node in NODES:
        cluster.resume(node)
    if down := [node for node in NODES if not cluster.nodes[node].runs]:
        cluster.restart(*down)
    cluster.wait()


def tally_text(tally: Counter[str]) -> str:
    """The counts of what was done, as text."""
    return ", ".join(f"{what} {count}" for what, count in sorted(tally.items()))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table: what was done, how often, and what differed."""
    heads = "round", "what was done", "how often", "events", "compared", "DIFFERING", "letters wrong", "s"
    lines = [heads]
    for row in rows:
        result = row.result
        counts = (
            (f"{result.fed:,}", f"{result.compared:,}", f"{len(result.wrong):,}", f"{result.dead_letters:,}")
            if not row.failed
            else ("-", "-", "not known", "-")
        )
        lines.append((row.round.name, row.round.what, tally_text(row.tally), *counts, f"{row.seconds:.0f}"))
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    for line in lines:
        cells = (text.ljust(width) if at < 3 else text.rjust(width)
                 for at, (text, width) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
        yield "  ".join(cells).rstrip()


def summary(rows: Sequence[Row], seed: int, scale: float, seconds: float) -> Iterator[str]:
    """The lines of the report: the table, the totals, and what was wrong."""
    yield from table(rows)
    tally = sum((row.tally for row in rows), Counter[str]())
    yield ""
    yield f"in all: {tally_text(tally)}; {sum(row.result.fed for row in rows):,} events"
    for row in rows:
        if row.failed:
            yield f"{row.round.name} failed: {row.failed}"
        yield from (f"{row.round.name}: {line}" for line in row.result.wrong[:SHOWN])
    compared, wrong = (sum(one) for one in zip(*((r.result.compared, len(r.result.wrong)) for r in rows), strict=True))
    dead_letters, failed = sum(row.result.dead_letters for row in rows), sum(bool(row.failed) for row in rows)
    yield (
        f"{compared:,} counters compared, {wrong:,} differ; {dead_letters:,} dead letters not exactly once; "
        f"{failed} of {len(rows)} rounds failed; seed {seed}, scale {scale:g}, {seconds / 60:.0f} min"
    )


def run(rounds: Sequence[Round], seed: int, scale: float, directory: Path) -> int:
    """Play the rounds and print the report; returns the exit code."""
    began, rows = time.monotonic(), list[Row]()
    store = RedisServer(directory / "redis")
    try:
        network = Network(NODES)
        with network, Cluster(directory / "kafka", len(NODES), far=network.ports) as cluster:
            world = World(cluster, network, store, directory)
            for at, one in enumerate(rounds, 1):
                times = max(1, round(one.times * scale))
                say(f"[{at}/{len(rounds)}] {one.name}: {one.what} ({times} times)")
                row = play_round(one, times, world, seed)
                rows.append(row)
                result = row.result
                say(
                    f"    {tally_text(row.tally)}; {result.fed:,} events, {result.compared:,} counters compared, "
                    f"{len(result.wrong)} differ, {result.dead_letters} dead letters wrong; {row.seconds:.0f} s, "
                    f"{result.seconds:.0f} of them to compare" + (f"; FAILED: {row.failed}" if row.failed else "")
                )
                for line in result.wrong[:SHOWN]:
                    say(f"    {line}")
    finally:
        store.kill()
        if rows:
            print("", *summary(rows, seed, scale, time.monotonic() - began), sep="\n", flush=True)
    return 0 if all(row.right for row in rows) else 1


def main(args: Sequence[str] | None = None) -> int:
    """Parse the command line, play the rounds, and return the exit code."""
    names = [one.name for one in ROUNDS]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the logs, moments and victims (1)")
    parser.add_argument("--only", action="append", choices=names, metavar="ROUND", help="this round; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times as often (1)")
    parser.add_argument("--secured", action="store_true", help="workers and commands log in by SCRAM over TLS")
    parser.add_argument("--list", action="store_true", help="show the rounds, and do nothing")
    options = parser.parse_args(args)
    if options.list:
        print(*(f"{one.name:14} {one.times:3} times {one.what}" for one in ROUNDS), sep="\n")
        return 0
    if options.secured:
        secured.turn_on()
    rounds = [one for one in ROUNDS if not options.only or one.name in options.only]
    # Both signals end the run in order. A shell lets its background processes ignore SIGINT.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would log every broker that is away
    directory = Path(tempfile.mkdtemp(prefix="ecounters-faults-"))
    try:
        code = run(rounds, options.seed, options.scale, directory)
    except KeyboardInterrupt:
        return 130
    except (Stop, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if code:
        print(f"logs of workers and brokers: {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
