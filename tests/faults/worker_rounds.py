"""The rounds of `make faults`: what befalls the workers. Each is a function of its stage and of how often."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.kill_at_step import POINTS, through
from tests.faults.testbed import PATIENCE_S, POLL_S, READY_S, SESSION_S, Stage
from tests.support.workers import Worker

Action = Callable[[Stage, int], None]

MISSES_MAX: Final = 10
"""Of a round's aims, besides as many as it has: more, and its points are not passed at all."""


@dataclass(frozen=True, slots=True)
class Round:
    """``what``: as the table says it; ``times``: how often, at scale 1."""

    name: str
    what: str
    times: int
    act: Action


ROUNDS: Final[list[Round]] = []


def a_round(name: str, what: str, times: int) -> Callable[[Action], Action]:
    """Make a function a round."""

    def add(act: Action) -> Action:
        ROUNDS.append(Round(name, what, times, act))
        return act

    return add


# ----------------------------------------------------------------------------------------- killed workers


@a_round("kill", "SIGKILL of one of two workers, at random moments", 44)
def kill(stage: Stage, times: int) -> None:
    """A worker that was killed is started again at once; some are killed while they start or restore."""
    for _ in range(2):
        stage.hire()
    for at in range(times):
        victim = stage.workers[0]  # the one that has lived longest
        if stage.chance.random() < 0.7:
            stage.wait_ready_or_not(victim)
        stage.pause(0.0, 1.0)
        stage.replace(victim)
        if at % 10 == 9:
            stage.wait_settled()


@a_round("kill-all", "SIGKILL of both workers at once", 20)
def kill_all(stage: Stage, times: int) -> None:
    """Nobody is left who knows anything but what the changelog says."""
    for _ in range(2):
        stage.hire()
    for _ in range(max(1, times // 2)):
        stage.wait_settled()
        stage.pause(0.0, 2.0)
        for worker in list(stage.workers):
            worker.process.kill()
        for worker in list(stage.workers):
            worker.process.wait()
            stage.tally["kills"] += 1
            stage.replace(worker)


def aimed(stage: Stage, times: int, points: Sequence[str]) -> None:
    """Two workers that are killed whenever they pass one of these points, for the n-th time; then two that live."""
    done = 0

    def aim() -> list[str]:
        point = stage.chance.choice(points)
        return through(point, stage.chance.randint(1, POINTS[point].most))

    for _ in range(2):
        stage.hire(through=aim())
    while done < times:
        for worker in list(stage.workers):
            if (code := worker.process.poll()) is not None:
                assert code == -signal.SIGKILL, f"it ended by itself: {worker.last_words()}"
                done += 1
                stage.tally["kills"] += 1
            elif stage.age(worker) < PATIENCE_S:
                continue
            else:
                stage.tally["aims missed"] += 1  # it is killed where it is
                assert stage.tally["aims missed"] <= MISSES_MAX + times, f"{points} are not passed"
            stage.replace(worker, aim() if done < times else ())
        time.sleep(POLL_S)
    for worker in [one for one in stage.workers if one.through]:
        stage.replace(worker)


def a_round_of(name: str, what: str, times: int, *points: str) -> None:
    """A round of kills that are aimed at these points."""
    a_round(name, f"SIGKILL: {what}", times)(lambda stage, count: aimed(stage, count, points))


a_round_of("apply", POINTS["apply"].what, 14, "apply")
a_round_of("cut", "a flush cut, or its transaction begun, nothing sent", 14, "cut", "begin")
a_round_of("sent", "a flush sent and not acknowledged, or acknowledged and not committed", 20, "sent", "acked")
a_round_of("commit-sent", "a transaction's commit sent and not answered", 12, "commit-sent")
a_round_of(
    "written", "a flush committed, before and after its offset is", 20, "written", "offset-commit", "offset-committed"
)
a_round_of("republish", POINTS["republish"].what, 8, "republish")
a_round_of("restore", "a changelog taken over, read or made a state of in part", 30, "open", "read", "restore")


@a_round("rebalance", "SIGKILL in a rebalance: begun; saved, not committed; assigned, not read yet", 12)
def rebalance(stage: Stage, times: int) -> None:
    """Somebody joins or leaves, and another is killed at a point of the rebalance that follows."""
    stage.hire()
    for at in range(times):
        stage.wait_settled()
        point = ("revoke", "let-go", "assigned")[at % 3]
        # It passes each of them once when it joins itself.
        victim = stage.hire(through=through(point, 2))
        stage.wait_settled()
        third = stage.hire()
        deadline = time.monotonic() + PATIENCE_S
        while victim.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        stage.tally["kills" if stage.has_been_killed(victim) else "aims missed"] += 1
        if stage.chance.random() < 0.5:
            stage.dismiss(stage.replace(victim).wait_ready(READY_S))
        else:  # its partitions stay where they are until the group takes it for dead
            stage.lose_dead(victim)
        stage.wait_settled()
        stage.dismiss(third)


@a_round("stop", "SIGTERM, and SIGKILL before that has come to its end", 10)
def stop(stage: Stage, times: int) -> None:
    """An orderly end that is cut short: told to end, saved, left, or somewhere between."""
    for _ in range(2):
        stage.hire()
    for at in range(times):
        victim = stage.workers[0]
        stage.wait_settled()
        if at % 2:
            victim.process.send_signal(signal.SIGTERM)
            stage.pause(0.0, 0.3)
            stage.replace(victim)
            continue
        stage.replace(victim, through(stage.chance.choice(("stop", "let-go")), 1 if at % 4 else 2))
        stage.wait_ready_or_not(stage.workers[-1], READY_S)
        stage.end_or_struck(stage.workers[-1])


@a_round("unnamed", "SIGKILL of a worker without a name: another takes over when its session ends", 4)
def unnamed(stage: Stage, times: int) -> None:
    """The broker notices by itself."""
    stage.hire(named=False)
    for _ in range(times):
        stage.hire(named=False)
        stage.wait_settled()
        stage.lose(stage.workers[0])
        stage.wait_settled()


# -------------------------------------------------------------------------------------- the group's comings


@a_round("leave", "SIGTERM of a worker, and another in its place", 12)
def leave(stage: Stage, times: int) -> None:
    """Orderly ends, while the log flows."""
    for _ in range(2):
        stage.hire(named=False)
    for _ in range(times):
        stage.wait_settled()
        stage.pause(0.0, 1.0)
        stage.dismiss(stage.workers[0])
        stage.hire(named=False)


@a_round("join", "workers join and leave, one to four of them", 12)
def join(stage: Stage, times: int) -> None:
    """Partitions move at every step, some before the last move has ended."""
    stage.hire()
    for _ in range(times):
        if stage.chance.random() < 0.6:
            stage.wait_settled()
        stage.tally["joins"] += 1
        stage.hire(named=stage.chance.random() < 0.5)
        stage.pause(0.0, 3.0)
        if len(stage.workers) > 3 or stage.chance.random() < 0.4:
            stage.dismiss(stage.chance.choice(stage.workers).wait_ready(READY_S))
            stage.tally["leaves"] += 1
        if not stage.workers:
            stage.hire()


# --------------------------------------------------------------------------------------------- zombies


def wake(stage: Stage, zombie: Worker) -> None:
    """Let it sleep until others have all that it had and a while longer, then go on, unaware."""
    stage.tally["zombies"] += 1
    time.sleep(SESSION_S / 2)
    stage.wait_settled(zombie)
    stage.pause(0.0, 2.0)
    zombie.process.send_signal(signal.SIGCONT)


@a_round("zombie", "SIGSTOP past the session, while another takes over, and SIGCONT; at random moments", 10)
def zombie(stage: Stage, times: int) -> None:
    """It wakes with partitions that are others' by now, and state that it has not flushed."""
    for _ in range(2):
        stage.hire(named=False)
    for at in range(times):
        stage.wait_settled()
        stage.pause(0.0, 1.0)
        victim = stage.workers[at % 2]
        victim.process.send_signal(signal.SIGSTOP)
        wake(stage, victim)


@a_round("zombie-aimed", "the same, amid a flush, a commit, a restore or a rebalance", 9)
def zombie_aimed(stage: Stage, times: int) -> None:
    """Its next step is to write, or to commit what was written, in another's partition."""
    points = ("sent", "begin", "acked", "commit-sent", "cut", "written", "open", "revoke", "apply")
    stage.hire(named=False)
    for at in range(times):
        stage.wait_settled()
        point = points[at % len(points)]
        victim = stage.hire(named=False, through=through(point, 1 if point == "open" else 2, how="STOP"))
        if victim.wait_stopped(PATIENCE_S):
            wake(stage, victim)
        else:
            stage.tally["aims missed"] += 1
        stage.wait_settled()
        stage.dismiss(victim)


@a_round("zombie-named", "the same of one whose name another has by then", 4)
def zombie_named(stage: Stage, times: int) -> None:
    """Who was started in its place, with its name, has its partitions at once."""
    stage.hire()
    for _ in range(times):
        stage.wait_settled()
        old = stage.workers[0]
        old.process.send_signal(signal.SIGSTOP)
        stage.workers.remove(old)
        stage.stand_in(old)
        wake(stage, old)
        stage.pause(2.0, 4.0)
        old.kill()
