"""Command line: run a command with an Apache Kafka of its own.

``python -m tests.support.kafka [--nodes 3] [--secured] -- COMMAND…`` fetches and starts Apache Kafka, runs COMMAND with
ECOUNTERS_TEST_BROKER set to its address, kills it, and exits with the exit code of COMMAND. With
ECOUNTERS_TEST_KAFKA=off it does nothing.
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
from tests.support import secured
from tests.support.kafka_cluster import Cluster


def _run(command: Sequence[str], nodes: int) -> int:
    """Run the command on a cluster of so many nodes; returns its exit code."""
    # A node that is killed while it formats its directory may write a last file while that is removed.
    directory = tempfile.TemporaryDirectory(prefix="ecounters-kafka-", ignore_cleanup_errors=True)
    with directory as path, Cluster(Path(path), nodes) as kafka:
        print(f"Apache Kafka answers at {kafka.address}", file=sys.stderr)
        process = subprocess.Popen(command, env={**os.environ, "ECOUNTERS_TEST_BROKER": kafka.address})
        # A terminal sends Ctrl-C to both processes. The command decides what to do; this process waits for its end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        code = process.wait()
        if code and kafka.errors():
            print("Errors in Kafka's logs:", *kafka.errors(), sep="\n  ", file=sys.stderr)
    return code if code >= 0 else 128 - code


def main(args: Sequence[str] | None = None) -> int:
    """Parse the command line and run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.kafka", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1, help="how many brokers (1)")
    parser.add_argument("--secured", action="store_true", help="workers and commands log in by SCRAM over TLS")
    parser.add_argument("command", nargs="+", help="what is run on it, after --")
    options = parser.parse_args(args)
    wanted = os.environ.get("ECOUNTERS_TEST_KAFKA", "")
    if options.secured:
        secured.turn_on()
    try:
        if wanted == "off":
            print("ECOUNTERS_TEST_KAFKA=off: the tests on Apache Kafka are left out.", file=sys.stderr)
            return 0
        if wanted:
            raise Stop(f"ECOUNTERS_TEST_KAFKA={wanted}: there is only off")
        return _run(options.command, options.nodes)
    except KeyboardInterrupt:
        return 130
    except (Stop, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
