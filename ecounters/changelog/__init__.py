"""The saved form of a partition's state: the entries of its changelog."""
