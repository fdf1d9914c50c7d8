"""The Prometheus metrics of a worker."""
