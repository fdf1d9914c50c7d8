"""The recount: a second implementation of the counters, by brute force, from the definitions of the specification.

``ecounters audit`` and the property tests compare its counters with those of a worker; ``ecounters explain`` finds with
it which event counted a call. No module here imports the rest of ``ecounters``, and no module of the rest imports the
recount (``tests/test_tidy.py`` holds both). So a mistake in one implementation shows as a difference. ``streams`` uses
the recount in these two commands only, and ``settings/narrow`` makes its ``Limits`` of the workers' settings.

Files: ``parse`` and ``texts`` (messages), ``call`` (the record of a call), ``counts`` (what it counts), ``counters``
(the table of counters, and their values), ``filters`` (the filter of a request) and ``recount`` (a partition's log).
"""
