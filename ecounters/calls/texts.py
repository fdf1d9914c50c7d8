"""Interning: equal texts become one object, to save memory.

DIDs, campaigns, IVRs, digits and switches recur in most calls, and each record would hold a copy of its own.
"""

from __future__ import annotations

from typing import Final

_SAME: dict[str, str] = {}
_SAME_MAX: Final = 65_536
"""Texts in the table: some 10 MB. A switch that sends ever new texts must not fill the memory."""
same = _SAME.setdefault
"""``same(text, text)`` returns the object that stands for all equal texts. A bound method, because that is fastest."""


def forget_texts() -> None:
    """Empty the table if it is too large. Texts that are in use stay in use; only equal new ones are other objects.

    Call this before a group of ``same``: it makes no check itself.
    """
    if len(_SAME) > _SAME_MAX:
        _SAME.clear()
