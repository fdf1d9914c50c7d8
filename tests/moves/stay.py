"""Starts ``ecounters worker`` so that it does not leave its group when it ends, to measure what that is worth.

A static member (with ``ECOUNTERS_INSTANCE_ID``) that ends without leaving keeps its partitions until its session times
out: if it is started again before, there is no rebalance. The product always leaves.
"""

from __future__ import annotations

import sys
from typing import Any

from streams.cli import main
from streams.kafka import internals


def _stay(consumer: Any) -> None:
    """Forget nothing: aiokafka stops a static member without leaving."""


internals.forget_instance_id = _stay
sys.exit(main(sys.argv[1:]))
