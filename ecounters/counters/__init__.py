"""The table of all counters (``definitions``), and what one call adds to them (``contributions``).

``definitions`` says how to add a counter. ``.github/CONTRIBUTING.md`` has the steps, and why ``FORMAT`` must be raised.
"""
