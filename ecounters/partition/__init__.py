"""One partition's state: records go in, changelog entries and counts come out."""
