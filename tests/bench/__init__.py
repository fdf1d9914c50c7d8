"""Measurements of real worker processes: ``make bench``, or ``python -m tests.bench --help``."""
