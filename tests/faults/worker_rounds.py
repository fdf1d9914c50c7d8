"""The rounds of `make faults` that kill, stop, start and fence workers. Each is a function of testbed and count."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.kill_at_step import POINTS, launcher_at
from tests.faults.testbed import PATIENCE_S, POLL_S, READY_S, SESSION_S, Testbed
from tests.support.workers import Worker

Action = Callable[[Testbed, int], None]

MISSES_MAX: Final = 10
"""More misses than this, besides as many as there are kills, mean that the points are never passed."""


@dataclass(frozen=True, slots=True)
class Round:
    """A kind of round. ``what``: as the table says it; ``times``: how often its fault happens, at scale 1."""

    name: str
    what: str
    times: int
    act: Action


ROUNDS: Final[list[Round]] = []


def register_round(name: str, what: str, times: int) -> Callable[[Action], Action]:
    """A decorator that adds a function to ROUNDS."""

    def add(act: Action) -> Action:
        ROUNDS.append(Round(name, what, times, act))
        return act

    return add


# ----------------------------------------------------------------------------------------- killed workers


@register_round("kill", "SIGKILL of one of two workers, at random moments", 44)
def kill(testbed: Testbed, times: int) -> None:
    """A killed worker is replaced at once. Some are killed while they start or restore."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        victim = testbed.workers[0]  # the oldest
        if testbed.chance.random() < 0.7:
            testbed.wait_ready_or_not(victim)
        testbed.pause(0.0, 1.0)
        testbed.replace(victim)
        if at % 10 == 9:
            testbed.wait_settled()


@register_round("kill-all", "SIGKILL of both workers at once", 20)
def kill_all(testbed: Testbed, times: int) -> None:
    """Both workers are killed, so that only the changelog knows the state."""
    for _ in range(2):
        testbed.start_worker()
    for _ in range(max(1, times // 2)):
        testbed.wait_settled()
        testbed.pause(0.0, 2.0)
        for worker in list(testbed.workers):
            worker.process.kill()
        for worker in list(testbed.workers):
            worker.process.wait()
            testbed.tally["kills"] += 1
            testbed.replace(worker)


def kill_at_points(testbed: Testbed, times: int, points: Sequence[str]) -> None:
    """Kill two workers whenever they pass one of the points, a random number of times; then two others run on."""
    done = 0

    def random_launcher() -> list[str]:
        point = testbed.chance.choice(points)
        return launcher_at(point, testbed.chance.randint(1, POINTS[point].most))

    for _ in range(2):
        testbed.start_worker(launcher=random_launcher())
    while done < times:
        for worker in list(testbed.workers):
            if (code := worker.process.poll()) is not None:
                assert code == -signal.SIGKILL, f"it ended by itself: {worker.log_tail()}"
                done += 1
                testbed.tally["kills"] += 1
            elif testbed.age(worker) < PATIENCE_S:
                continue
            else:
                testbed.tally["aims missed"] += 1  # it has not passed its point: kill it wherever it is
                assert testbed.tally["aims missed"] <= MISSES_MAX + times, f"{points} are not passed"
            testbed.replace(worker, random_launcher() if done < times else ())
        time.sleep(POLL_S)
    for worker in [one for one in testbed.workers if one.launcher]:
        testbed.replace(worker)


def register_kill_round(name: str, what: str, times: int, *points: str) -> None:
    """Add a round that kills workers at these points."""
    register_round(name, f"SIGKILL: {what}", times)(lambda testbed, count: kill_at_points(testbed, count, points))


register_kill_round("apply", POINTS["apply"].what, 14, "apply")
register_kill_round("cut", "a flush cut, or its transaction begun, nothing sent", 14, "cut", "begin")
register_kill_round("sent", "a flush sent and not acknowledged, or acknowledged and not committed", 20, "sent", "acked")
register_kill_round("commit-sent", "a transaction's commit sent and not answered", 12, "commit-sent")
register_kill_round(
    "written", "a flush committed, before and after its offset is", 20, "written", "offset-commit", "offset-committed"
)
register_kill_round("republish", POINTS["republish"].what, 8, "republish")
register_kill_round("restore", "a changelog taken over, read or made a state of in part", 30, "open", "read", "restore")


@register_round("rebalance", "SIGKILL in a rebalance: begun; saved, not committed; assigned, not read yet", 12)
def rebalance(testbed: Testbed, times: int) -> None:
    """A worker joins or leaves, and another is killed at a point of the rebalance that follows."""
    testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        point = ("revoke", "let-go", "assigned")[at % 3]
        # The first pass is the victim's own join.
        victim = testbed.start_worker(launcher=launcher_at(point, 2))
        testbed.wait_settled()
        third = testbed.start_worker()
        deadline = time.monotonic() + PATIENCE_S
        while victim.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        testbed.tally["kills" if testbed.was_killed(victim) else "aims missed"] += 1
        if testbed.chance.random() < 0.5:
            testbed.stop_worker(testbed.replace(victim).wait_ready(READY_S))
        else:  # without a successor its partitions wait for the session timeout
            testbed.drop_dead_worker(victim)
        testbed.wait_settled()
        testbed.stop_worker(third)


@register_round("handover", "SIGKILL or SIGSTOP amid a handover: given up, restored, taken", 9)
def handover(testbed: Testbed, times: int) -> None:
    """A worker joins, and is killed or sleeps past its session before it tells that it has its partitions; or it ends,
    and that happens while it answers from what it keeps."""
    testbed.start_worker()
    for at in range(times):
        testbed.wait_settled()
        point, how = ("announce", "keep", "taken")[at % 3], "STOP" if at % 2 else "KILL"
        victim = testbed.start_worker(launcher=launcher_at(point, 1, how=how))
        if point != "announce":
            testbed.wait_settled()
            victim.process.send_signal(signal.SIGTERM)
        if how == "STOP" and victim.wait_stopped(PATIENCE_S):
            wake(testbed, victim)
        elif how == "STOP":
            testbed.tally["aims missed"] += 1
        else:
            victim.process.wait(PATIENCE_S)
            testbed.tally["kills" if testbed.was_killed(victim) else "aims missed"] += 1
            victim = testbed.replace(victim)
        if how == "STOP" and point != "announce":  # it goes on to end; it may have slept for longer than that may take
            testbed.workers.remove(victim)
            assert victim.process.wait(PATIENCE_S) == 0, victim.log_tail()
        else:
            testbed.wait_settled()
            testbed.stop_worker(victim)


@register_round("stop", "SIGTERM, and SIGKILL before that has come to its end", 10)
def stop(testbed: Testbed, times: int) -> None:
    """SIGTERM, and SIGKILL at some step of the orderly end."""
    for _ in range(2):
        testbed.start_worker()
    for at in range(times):
        victim = testbed.workers[0]
        testbed.wait_settled()
        if at % 2:
            victim.process.send_signal(signal.SIGTERM)
            testbed.pause(0.0, 0.3)
            testbed.replace(victim)
            continue
        testbed.replace(victim, launcher_at(testbed.chance.choice(("stop", "let-go")), 1 if at % 4 else 2))
        testbed.wait_ready_or_not(testbed.workers[-1], READY_S)
        testbed.stop_and_expect_signal(testbed.workers[-1])


@register_round("unnamed", "SIGKILL of a worker without a name: another takes over when its session ends", 4)
def unnamed(testbed: Testbed, times: int) -> None:
    """A worker without a name is killed: the broker notices at the session timeout."""
    testbed.start_worker(named=False)
    for _ in range(times):
        testbed.start_worker(named=False)
        testbed.wait_settled()
        testbed.kill_worker(testbed.workers[0])
        testbed.wait_settled()


# -------------------------------------------------------------------------------------- the group's comings


@register_round("leave", "SIGTERM of a worker, and another in its place", 12)
def leave(testbed: Testbed, times: int) -> None:
    """A worker ends in order, and a new one starts."""
    for _ in range(2):
        testbed.start_worker(named=False)
    for _ in range(times):
        testbed.wait_settled()
        testbed.pause(0.0, 1.0)
        testbed.stop_worker(testbed.workers[0])
        testbed.start_worker(named=False)


@register_round("join", "workers join and leave, one to four of them", 12)
def join(testbed: Testbed, times: int) -> None:
    """Workers join and leave, sometimes before the last rebalance has ended."""
    testbed.start_worker()
    for _ in range(times):
        if testbed.chance.random() < 0.6:
            testbed.wait_settled()
        testbed.tally["joins"] += 1
        testbed.start_worker(named=testbed.chance.random() < 0.5)
        testbed.pause(0.0, 3.0)
        if len(testbed.workers) > 3 or testbed.chance.random() < 0.4:
            testbed.stop_worker(testbed.chance.choice(testbed.workers).wait_ready(READY_S))
            testbed.tally["leaves"] += 1
        if not testbed.workers:
            testbed.start_worker()


# --------------------------------------------------------------------------------------------- zombies


def wake(testbed: Testbed, zombie: Worker) -> None:
    """Let a stopped worker sleep until others have all its partitions, then continue it with SIGCONT."""
    testbed.tally["zombies"] += 1
    time.sleep(SESSION_S / 2)
    testbed.wait_settled(zombie)
    testbed.pause(0.0, 2.0)
    zombie.process.send_signal(signal.SIGCONT)


@register_round("zombie", "SIGSTOP past the session, while another takes over, and SIGCONT; at random moments", 10)
def zombie(testbed: Testbed, times: int) -> None:
    """A worker wakes with partitions that others own by then, and with state that it has not flushed."""
    for _ in range(2):
        testbed.start_worker(named=False)
    for at in range(times):
        testbed.wait_settled()
        testbed.pause(0.0, 1.0)
        victim = testbed.workers[at % 2]
        victim.process.send_signal(signal.SIGSTOP)
        wake(testbed, victim)


@register_round("zombie-aimed", "the same, amid a flush, a commit, a restore or a rebalance", 9)
def zombie_aimed(testbed: Testbed, times: int) -> None:
    """A worker is stopped amid a write or a commit, and wakes when another owns the partition."""
    points = ("sent", "begin", "acked", "commit-sent", "cut", "written", "open", "revoke", "apply")
    testbed.start_worker(named=False)
    for at in range(times):
        testbed.wait_settled()
        point = points[at % len(points)]
        victim = testbed.start_worker(named=False, launcher=launcher_at(point, 1 if point == "open" else 2, how="STOP"))
        if victim.wait_stopped(PATIENCE_S):
            wake(testbed, victim)
        else:
            testbed.tally["aims missed"] += 1
        testbed.wait_settled()
        testbed.stop_worker(victim)


@register_round("zombie-named", "the same of one whose name another has by then", 4)
def zombie_named(testbed: Testbed, times: int) -> None:
    """A worker is stopped, another takes its name and partitions at once, and the first wakes."""
    testbed.start_worker()
    for _ in range(times):
        testbed.wait_settled()
        old = testbed.workers[0]
        old.process.send_signal(signal.SIGSTOP)
        testbed.workers.remove(old)
        testbed.start_successor(old)
        wake(testbed, old)
        testbed.pause(2.0, 4.0)
        old.kill()
