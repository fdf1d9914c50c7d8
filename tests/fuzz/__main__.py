"""Try random inputs on each target for a part of the given time; say how many, and what failed.

    python -m tests.fuzz --seconds 60
    python -m tests.fuzz --seconds 600 --only logs --seed 123

Exit code 1 if an input failed. The same seed draws the same inputs, in the same order.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from contextlib import ExitStack
from typing import Final

from tests.fuzz.logs import Logs
from tests.fuzz.requests import Requests
from tests.fuzz.rounds import Target, Tried, error_of, try_until
from tests.fuzz.values import Values

TARGETS: Final[dict[str, type[Values | Logs | Requests]]] = {"values": Values, "logs": Logs, "requests": Requests}


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Try random inputs for a time.")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all targets together; default: 60")
    parser.add_argument("--seed", type=int, help="where the drawing begins; default: a random number")
    parser.add_argument("--only", choices=sorted(TARGETS), action="append", help="a target; several are possible")
    options = parser.parse_args()
    names = options.only or list(TARGETS)
    first_seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    faults = 0
    for name in names:
        print(f"{name}: from seed {first_seed}", flush=True)
        began = time.monotonic()
        tried = _try(name, first_seed, options.seconds / len(names))
        took = time.monotonic() - began
        found = "a fault" if tried.fault else "no fault"
        print(f"{name}: {tried.inputs:,} inputs in {took:.0f} s, {found}", flush=True)
        if tried.fault:
            faults += 1
            print(f"--only {name} --seed {tried.seed} finds it first:\n{tried.fault}", flush=True)
    return 1 if faults else 0


def _try(name: str, first_seed: int, seconds: float) -> Tried:
    with ExitStack() as exits:
        target: Target = exits.enter_context(Requests()) if name == Requests.name else TARGETS[name]()
        tried = try_until(target, first_seed, time.monotonic() + seconds)
        if isinstance(target, Requests) and not tried.fault:
            error = error_of(lambda _: target.finish(), None)
            return Tried(tried.inputs, error and f"after all inputs: {error}", first_seed)
        return tried


if __name__ == "__main__":
    sys.exit(main())
