"""The recount: the counters of a log once more, by brute force, straight from the definitions of the specification.

``ecounters audit`` and the property tests compare its counters with those of a worker. The recount imports nothing of
the rest of the project, and the workers import nothing of the recount (a test holds both): a mistake in one of them
then shows as a difference. Files: ``parse`` (messages), ``call`` (what one call counts), ``counters`` (their table and
values), ``filters`` (the filter of a request) and ``recount`` (the log of a partition).
"""
