"""LiveBySwitch: the live calls of a partition by switch and account."""

from __future__ import annotations

from ecounters.calls.record import Call


class LiveBySwitch:
    """Switch -> user id -> the calls that have started there and have no end; a REAPED call is among them.

    ``Timeouts`` keeps the index right: ``add`` and ``discard`` may be repeated. A call without a switch is not in it.
    Calls of an erased account stay until ``Timeouts`` discards them; ``calls`` leaves them out.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[str, dict[str, dict[Call, None]]] = {}

    def add(self, call: Call) -> None:
        """Add a call under its present switch."""
        if call.switch:
            self._calls.setdefault(call.switch, {}).setdefault(call.user.id, {})[call] = None

    def discard(self, call: Call) -> None:
        """Remove a call from its present switch, if it is there. Call this before the call's switch changes."""
        users = self._calls.get(call.switch)
        calls = users.get(call.user.id) if users is not None else None
        if users is None or calls is None or call not in calls:
            return
        del calls[call]
        if not calls:
            del users[call.user.id]
            if not users:
                del self._calls[call.switch]

    def calls(self, switch: str, user_id: str | None) -> list[Call]:
        """The calls of a switch: of one account, or of all accounts for None."""
        users = self._calls.get(switch, {})
        chosen = users.values() if user_id is None else [users.get(user_id, {})]
        return [call for calls in chosen for call in calls if not call.user.erased]
