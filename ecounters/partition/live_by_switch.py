"""LiveBySwitch: the live calls of a partition by switch and account."""

from __future__ import annotations

from collections.abc import Iterator

from ecounters.calls.record import Call
from ecounters.large_dict import LargeDict
from ecounters.partition.emptying import emptying


class LiveBySwitch:
    """Switch -> user id -> the calls that have started there and have no end; a REAPED call is among them.

    ``Timeouts`` keeps the index right: ``add`` and ``discard`` may be repeated. A call without a switch is not in it.
    Calls of an erased account stay until ``Timeouts`` discards them.
    """

    __slots__ = ("_calls", "_users")

    def __init__(self) -> None:
        self._calls: LargeDict[tuple[str, str], LargeDict[Call, None]] = LargeDict()  # (switch, user id) -> calls
        # switch -> the user ids with which it is in _calls
        self._users: LargeDict[str, LargeDict[str, None]] = LargeDict()

    def add(self, call: Call) -> None:
        """Add a call under its present switch."""
        if not call.switch:
            return
        key = call.switch, call.user.id
        calls = self._calls.first.get(key)
        if calls is None:
            calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = LargeDict()
            self._users.setdefault(call.switch, LargeDict())[call.user.id] = None
        if call not in calls.first:
            calls[call] = None

    def discard(self, call: Call) -> None:
        """Remove a call from its present switch, if it is there. Call this before the call's switch changes."""
        key = call.switch, call.user.id
        calls = self._calls.get(key)
        if calls is None:
            return
        calls.pop(call, None)
        if not calls:
            del self._calls[key]
            users = self._users[call.switch]
            del users[call.user.id]
            if not users:
                del self._users[call.switch]

    def discarding(self) -> Iterator[None]:
        """Remove everything from the index, and yield after each step: the partition's state is discarded."""
        while self._calls:
            _, calls = self._calls.popitem()
            yield from emptying(calls)
        while self._users:
            _, users = self._users.popitem()
            yield from emptying(users)

    def calls(self, switch: str, user_id: str | None) -> Iterator[Call]:
        """Yield the calls of a switch: of one account, or of all accounts for None.

        Do not change the index meanwhile.
        """
        for each in self._users.get(switch, ()) if user_id is None else (user_id,):
            yield from self._calls.get((switch, each), ())
