"""The documents that describe the API and the events to machines."""
