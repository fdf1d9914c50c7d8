"""From a user's counts to the answer: totals, the payload, and series of it."""
