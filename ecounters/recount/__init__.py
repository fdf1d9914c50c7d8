"""A second opinion: the counters of a log by brute force, straight from the definitions.

Nothing here is used by what counts, and nothing of what counts is used here: the two share no code (a test holds
that), so that what is wrong in one is not wrong in the other for the same reason. ``ecounters audit`` compares them.
"""
