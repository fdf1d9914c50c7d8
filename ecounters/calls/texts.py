"""Interning: equal texts become one object, to save memory.

DIDs, campaigns, IVRs, digits, leg ids and switches recur in many calls. Without interning, each record would hold
copies of its own.
"""

from __future__ import annotations

from typing import Final

_SAME: Final[dict[str, str]] = {}
_SAME_MAX: int = 65_536
"""``forget_texts`` empties a table of more texts than this, some 10 MB of short texts: a switch that sends ever new
texts must not fill the memory."""
same: Final = _SAME.setdefault
"""``same(text, text)`` returns the equal text of the table; a text that the table lacks is added and returned itself.
It is a bound method, because that is fastest, so it does not check the size of the table: see ``forget_texts``."""


def forget_texts() -> None:
    """Empty the table if it holds more than _SAME_MAX texts.

    ``join_start`` and ``_Dtmf`` of ``calls.join`` and ``restored_call`` call this before they intern; the other callers
    of ``same`` do not. Records keep the texts that they have. An equal text that comes later is another object, so
    texts must be compared with ``==``.
    """
    if len(_SAME) > _SAME_MAX:
        _SAME.clear()
