"""Command line: runs a command on an Apache Kafka of its own, fetched by Maven.

``python -m tests.support.kafka [--nodes 3] -- COMMAND…`` starts it, runs COMMAND with ECOUNTERS_TEST_BROKER set to it,
ends it, and exits as COMMAND did. ECOUNTERS_TEST_KAFKA=off leaves all of that out.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ecounters.errors import Stop
from tests.support.kafka_cluster import Cluster


def _run(command: Sequence[str], nodes: int) -> int:
    """Run it on a cluster; its exit code."""
    # What is killed while it is formatted may write a last file.
    directory = tempfile.TemporaryDirectory(prefix="ecounters-kafka-", ignore_cleanup_errors=True)
    with directory as path, Cluster(Path(path), nodes) as kafka:
        print(f"Apache Kafka answers at {kafka.address}", file=sys.stderr)
        process = subprocess.Popen(command, env={**os.environ, "ECOUNTERS_TEST_BROKER": kafka.address})
        # A terminal sends Ctrl-C to both: it is the command's, and what is left to do here is to wait for its end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        code = process.wait()
        if code and kafka.errors():
            print("Errors in Kafka's logs:", *kafka.errors(), sep="\n  ", file=sys.stderr)
    return code if code >= 0 else 128 - code


def main(args: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.kafka", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1, help="how many brokers (1)")
    parser.add_argument("command", nargs="+", help="what is run on it, after --")
    given = parser.parse_args(args)
    wanted = os.environ.get("ECOUNTERS_TEST_KAFKA", "")
    try:
        if wanted == "off":
            print("ECOUNTERS_TEST_KAFKA=off: the tests on Apache Kafka are left out.", file=sys.stderr)
            return 0
        if wanted:
            raise Stop(f"ECOUNTERS_TEST_KAFKA={wanted}: there is only off")
        return _run(given.command, given.nodes)
    except KeyboardInterrupt:
        return 130
    except (Stop, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
