"""States that follow a changelog, in cases that ``tests/property/test_follow.py`` does not draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ecounters.changelog.entries import Entry
from ecounters.partition.following import FollowedState
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from ecounters.windows.cell import INPUTS_MAX
from tests.support.builders import Feed, LogRecord, answer_of, call, encoded, event, restored

DAY_S = 86_400


def take(steps: Iterator[None]) -> None:
    """Take all steps."""
    for _ in steps:
        pass


class Standby:
    """A state that follows the flushes of ``feed``. ``log``: all their entries."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.log: list[Entry] = []
        self.followed = FollowedState(0, 1, Policy())

    def flush(self) -> None:
        """Flush what has changed, and follow that."""
        entries = list(self.feed.state.take_changes())
        self.log += entries
        take(self.followed.applying(entries))

    def restart(self) -> None:
        """Another worker restores the state, and owns it from now on."""
        self.feed.state = restored(self.log)

    def both(self) -> tuple[PartitionState, PartitionState]:
        """The states of a worker that takes the partition over: restored, and followed."""
        take(self.followed.finishing())
        return restored(self.log), self.followed.state


def apply(state: PartitionState, *events: object) -> None:
    """Apply further events."""
    for one in events:
        assert isinstance(one, dict)
        assert not state.apply([LogRecord(state.position, one["ts"], encoded(one))], one["ts"])


def changes(state: PartitionState) -> list[Entry]:
    """The entries of the next flush."""
    return sorted(state.take_changes(), key=repr)


def of_user(user: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries that name a user."""
    return [entry for entry in entries if user.encode() in entry[0]]


def test_a_split_cell_without_inputs_is_whole_again() -> None:
    """So the next owner restores it, and saves inputs in the cell's entry: they were taken back as slots of -1."""
    feed = Feed()
    standby = Standby(feed)
    pressed, other = call("c1").started(), call("c2").started()
    for n in range(INPUTS_MAX + 1):
        pressed.dtmf(1, str(n))
    feed.take(pressed, other)
    standby.flush()
    feed.take(call("c1").ended(2))
    standby.flush()
    standby.restart()
    feed.take(call("c2").dtmf(3, "77"))
    standby.flush()
    for worker in (states := standby.both()):
        apply(worker, *call("c2").ended(4).events)
    assert answer_of(states[0]) == answer_of(states[1])
    assert changes(states[0]) == changes(states[1])


def test_a_balance_that_a_reply_has_forgotten_may_come_again() -> None:
    """A tombstone of the older one was written after the newer one: the balance was lost at the next restore."""
    feed = Feed()
    standby = Standby(feed)
    feed.take(event("balance.updated", 0, "u2", balance=1))
    standby.flush()
    later = (Policy().keep_days_ms / 1000) + 2 * DAY_S
    feed.take(event("balance.updated", later, "ticker", balance=1))
    standby.flush()
    assert answer_of(standby.followed.state, "u2")["ucBl"] == 0
    feed.pass_time()
    standby.flush()
    feed.take(event("balance.updated", later + 1, "u2", balance=2))
    standby.flush()
    with_restore, with_standby = standby.both()
    assert answer_of(with_standby, "u2") == answer_of(with_restore, "u2")
    assert of_user("u2", changes(with_standby)) == of_user("u2", changes(with_restore)) == []
