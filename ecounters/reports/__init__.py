"""From a user's cells to the JSON of a reply: sums over a range (``totals``), the documented message, its bytes and its
ETag (``payload``), and the same step by step (``series``).
"""
