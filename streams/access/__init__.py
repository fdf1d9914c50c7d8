"""Who may ask: users, sessions, and what slows down guessing."""
