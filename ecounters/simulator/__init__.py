"""Simulated switches: realistic calls as JSON events, and the faults of a real network (chaos)."""
