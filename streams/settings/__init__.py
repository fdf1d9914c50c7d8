"""The settings: their table, and how they are read."""
