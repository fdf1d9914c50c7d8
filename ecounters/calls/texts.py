"""One object for equal texts."""

from __future__ import annotations

from typing import Final

_SAME: dict[str, str] = {}
"""One object for equal texts: DIDs, campaigns, IVRs and digits recur in every call, and memory counts."""
_SAME_MAX: Final = 65_536
same = _SAME.setdefault


def forget_texts() -> None:
    if len(_SAME) > _SAME_MAX:
        _SAME.clear()
