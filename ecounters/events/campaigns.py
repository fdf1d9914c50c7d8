"""The campaign that an event names by a number or by text."""

from __future__ import annotations

import re

from ecounters.events.types import TEXT_MAX


def campaign_of(campaign_id: int | str) -> str:
    """The campaign as text; "" for none: 0, "0" or "". Whole numbers lose leading zeros: "007" is "7".

    Of a text the first TEXT_MAX characters count.
    """
    if isinstance(campaign_id, int):
        return str(campaign_id) if campaign_id else ""
    text = campaign_id[:TEXT_MAX]
    whole = str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else text
    return "" if whole == "0" else whole
