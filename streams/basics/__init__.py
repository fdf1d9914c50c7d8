"""What the rest of the shell stands on, and knows nothing of it."""
