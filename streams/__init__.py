"""The shell: Kafka, HTTP, Redis and the command line around the domain."""
