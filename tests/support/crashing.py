"""A command line whose worker cannot count: applying a batch raises an error that names a telephone number."""

from __future__ import annotations

import sys
from typing import Any

from streams.cli import main
from streams.engine.table import StateTable

NUMBER = "+4915112345678"


async def apply_batch(table: StateTable, *batch: Any) -> None:
    """In the place of StateTable.apply_batch."""
    raise KeyError(NUMBER)


if __name__ == "__main__":
    StateTable.apply_batch = apply_batch  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
