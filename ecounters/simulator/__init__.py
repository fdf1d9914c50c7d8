"""Made-up but realistic calls, and the chaos of a real network on top."""
