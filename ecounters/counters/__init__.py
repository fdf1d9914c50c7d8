"""The counters: the table of all (``definitions``), and what one call adds to them (``contributions``)."""
