"""The counters: the table of definitions, and what one call contributes to them."""
