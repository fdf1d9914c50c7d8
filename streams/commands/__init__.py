"""The longer commands. `streams.cli` has the options and the help."""
