"""The documents that describe a worker to programs: OpenAPI for its HTTP API, AsyncAPI for its topics on Kafka."""
