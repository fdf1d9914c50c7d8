"""Who may query which user's counters: authorization of requests, a throttle against guessing, users and sessions."""
