"""The work of the commands, without click, so that tests and other programs can call it."""
