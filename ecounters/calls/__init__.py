"""One call: its record, and what each event does to it."""
