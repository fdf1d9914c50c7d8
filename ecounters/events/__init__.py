"""Call events: their types (``types``) and fields (``fields``), how a Kafka message is parsed into one (``parse``), and
which partition a user's events belong to (``partitioner``).
"""
