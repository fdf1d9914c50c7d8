"""Recounting on when the number of partitions has changed, or the topic.

The accounts move to the partitions that they have under the new number. A partition goes on at the smallest watermark
and the smallest arrival of the old partitions that its accounts can come from: those whose numbers leave the same rest,
divided by the greatest common divisor of the old and the new number of partitions. Old partitions without an accepted
event are left out. What is due by the old watermark is dropped and forgotten before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ecounters.recount.parse import partition_of
from ecounters.recount.recount import Recount, User


def moved(recounts: Sequence[Recount], begins: Sequence[int]) -> list[Recount]:
    """The recounts of a topic with ``len(begins)`` partitions, each of which is read from its offset in ``begins`` on.

    ``recounts``: of all partitions of the topic before, each read up to where it was counted. They have no accounts
    afterwards; what they have refused stays with them.
    """
    partitions, divisor = len(begins), gcd(len(recounts), len(begins))
    arriving: list[dict[str, User]] = [{} for _ in begins]
    for recount in recounts:
        for user_id, user in recount.leave().items():
            arriving[partition_of(user_id, partitions)][user_id] = user
    made = []
    for partition, begin in enumerate(begins):
        before = [one for one in recounts[partition % divisor :: divisor] if one.watermark > 0]
        watermark = min((one.watermark for one in before), default=0)
        recount = Recount(partition, partitions, recounts[0].limits)
        recount.enter(arriving[partition], begin, watermark, min((one.arrival for one in before), default=0))
        made.append(recount)
    return made
