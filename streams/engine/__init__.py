"""The engine: restores, counts and flushes the partitions that a worker owns, and connects them with Faust."""
