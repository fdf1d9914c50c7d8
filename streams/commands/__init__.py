"""The commands, by click: options, help and exit codes. Their work is in ``streams.tools``.

A command is a file here and a row of ``COMMANDS`` in ``streams.cli``, which imports the file when the command is run.
"""
