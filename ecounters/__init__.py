"""The domain: what events, calls and counters are. No input or output, and no clock."""
