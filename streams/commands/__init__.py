"""The commands, made with click: options, help and exit codes. Most of their work is in ``streams.tools``.

Each command has a row of ``COMMANDS`` in ``streams.cli``, which imports the command's file when the command is run.
"""
