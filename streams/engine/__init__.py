"""The worker's engine: Faust's agent and table, and the partitions that this worker owns."""
