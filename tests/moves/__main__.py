"""``make moves``: workers are restarted one after the other behind nginx while questions are asked.

Each run restarts three workers in turn until QUESTIONS were asked, with events flowing all the while, and then audits:

    repeats       behind deploy/nginx/ecounters.conf: nobody may notice
    no-repeats    behind deploy/nginx/no-repeats.conf: 0.1 % at most

A run more, ``kills``, has workers with standbys and no nginx, see ``tests.moves.kills``; it is played if asked for.

It prints what the questions got. It needs nginx, and an Apache Kafka at ECOUNTERS_TEST_BROKER, which ``make moves``
starts. The exit code is 0 only if all runs were right.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from streams.local.embedded import Embedded
from tests.moves.kills import play_kills
from tests.support.accounts import add_users
from tests.support.audits import audited
from tests.support.moves import Answers, Asker, Calls, restart_in_turn, users_of
from tests.support.nginx import NGINX, Nginx
from tests.support.workers import Deployment, Worker

QUESTIONS: Final = 5_000
KILLS: Final = "kills"
SITES: Final = {"repeats": "ecounters.conf", "no-repeats": "no-repeats.conf"}
RESTARTS: Final = {"repeats": 1_000, "no-repeats": 3}
"""At most. Without repeats each restart costs a question or two, so each worker is restarted once."""
ALLOWED: Final = {"repeats": 0.0, "no-repeats": 0.001}
"""How many of all questions may get something else than 200."""
WITHOUT_MAX_S: Final = 0.5


def play(name: str, broker: str, options: argparse.Namespace) -> list[str]:
    """One run. Returns what was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="ecounters-moves-"))
    with ExitStack() as stack:
        store = Embedded.start(folder / "store")
        stack.callback(store.kill)
        here = Deployment(broker, store.redis_url, folder).with_settings(
            DRAIN_S=options.drain, HANDOVER_S=options.handover
        )
        stack.callback(here.end_all)
        here.create_topics()
        users = users_of(here.partitions)
        add_users(here, users)
        launcher, named = options.launcher.split(), not options.unnamed
        workers = [Worker(here, launcher=launcher, named=named).wait_ready() for _ in range(3)]
        ports = [worker.port for worker in workers]
        nginx = stack.enter_context(Nginx(folder / "nginx", SITES[name], ports))
        asker = Asker(users, nginx.port)
        calls = Calls(here, users)
        over = threading.Event()

        def restart() -> None:
            for turn in range(options.restarts or RESTARTS[name]):
                if over.is_set():
                    return
                restart_in_turn(here, workers, [turn])
                restarts[0] += 1

        def until_asked() -> None:
            restarting = threading.Thread(target=restart)
            restarting.start()
            while asker.answers.asked < options.questions:
                time.sleep(0.2)
            over.set()
            restarting.join()

        restarts = [0]
        answers = asker.ask_while(until_asked)
        calls.stop()
        print(f"{name}: {restarts[0]} restarts; {answers}", flush=True)
        for one in [answers.slowest, *answers.failed[:20], *answers.went_back[:20]]:
            print("   ", *one)
        wrong = faults(name, answers)
        code, lines, errors = audited(here, *workers)
        print("   ", *lines[-1:], flush=True)
        if code:
            wrong.append(f"the audit differs: {lines[:5]} {errors}")
    return wrong


def faults(name: str, answers: Answers) -> list[str]:
    """What is wrong with the answers of a run."""
    wrong = []
    if answers.not_200 > ALLOWED[name] * answers.asked:
        wrong.append(f"{answers.not_200} of {answers.asked} did not get 200")
    if answers.longest_s > WITHOUT_MAX_S:
        wrong.append(f"a user had no answer for {answers.longest_s:.2f} s")
    if answers.went_back:
        wrong.append(f"{len(answers.went_back)} answers showed fewer calls than before")
    return wrong


def main(args: Sequence[str] | None = None) -> int:
    """Parse the command line and play the runs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.moves", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", choices=[*SITES, KILLS], help="this run; may be repeated")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help=f"of each run ({QUESTIONS})")
    parser.add_argument("--drain", type=int, default=5, help="ECOUNTERS_DRAIN_S (5)")
    parser.add_argument("--handover", type=int, default=15, help="ECOUNTERS_HANDOVER_S (15)")
    parser.add_argument("--restarts", type=int, default=0, help="at most; 0: as many as the run has")
    parser.add_argument("--unnamed", action="store_true", help="workers without ECOUNTERS_INSTANCE_ID")
    parser.add_argument("--launcher", default="", help="a module that starts the command line in place of streams.cli")
    options = parser.parse_args(args)
    broker = os.environ.get("ECOUNTERS_TEST_BROKER", "")
    if not broker or NGINX is None:
        print("`make moves` needs nginx, and an Apache Kafka at ECOUNTERS_TEST_BROKER", file=sys.stderr)
        return 1
    right = True
    for name in options.only or SITES:
        wrong = play_kills(broker) if name == KILLS else play(name, broker, options)
        print(f"{name}: {'; '.join(wrong) or 'right'}", flush=True)
        right = right and not wrong
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
