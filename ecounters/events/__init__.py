"""Call events: their types, how a message becomes one, and which partition it belongs to."""
