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

    __slots__ = ("_switches",)

    def __init__(self) -> None:
        self._switches: LargeDict[str, LargeDict[str, LargeDict[Call, None]]] = LargeDict()  # none of them is empty

    def add(self, call: Call) -> None:
        """Add a call under its present switch."""
        if not call.switch:
            return
        users = self._switches.first.get(call.switch)
        if users is None:
            users = self._switches.setdefault(call.switch, LargeDict())
        calls = users.first.get(call.user.id)
        if calls is None:
            calls = users.setdefault(call.user.id, LargeDict())
        if call not in calls.first:
            calls[call] = None

    def discard(self, call: Call) -> None:
        """Remove a call from its present switch, if it is there. Call this before the call's switch changes."""
        users = self._switches.get(call.switch)
        if users is None:
            return
        calls = users.first.get(call.user.id)
        if calls is None:
            calls = users.get(call.user.id)
        if calls is None:
            return
        calls.discard(call)
        if not calls:
            del users[call.user.id]
            if not users:
                del self._switches[call.switch]

    def discarding(self) -> Iterator[None]:
        """Remove everything from the index, and yield after each step: the partition's state is discarded."""
        while self._switches:
            _, users = self._switches.popitem()
            while users:
                yield from emptying(users.popitem()[1])

    def calls(self, switch: str, user_id: str | None) -> Iterator[Call]:
        """Yield the calls of a switch: of one account, or of all accounts for None.

        Do not change the index meanwhile.
        """
        users = self._switches.get(switch)
        if users is not None:
            for calls in users.values() if user_id is None else (users.get(user_id, ()),):
                yield from calls
