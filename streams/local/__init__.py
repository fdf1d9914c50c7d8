"""``ecounters run``: broker, store, a worker and simulated switches on one machine, for trying it out."""
