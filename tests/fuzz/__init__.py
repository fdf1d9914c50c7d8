"""Fuzzing: `make fuzz` tries random inputs on the parser, on the state and on a worker, for a given time."""
