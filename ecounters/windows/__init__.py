"""Windows of time: their arithmetic, and the counts that are kept in them."""
