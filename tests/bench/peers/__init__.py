"""Other stream processors that count the same calls, beside this project: ``make bench-peers``.

``job`` and ``counting`` are all that the processes of the Python engines share with one another and with the bench.
They import nothing of the project, because these engines run in an environment of their own.
"""
