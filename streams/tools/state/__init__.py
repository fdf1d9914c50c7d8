"""The work of ``ecounters state``: what a state is bound to, whether it can be read, its copies."""
