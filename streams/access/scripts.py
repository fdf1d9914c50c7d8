"""Scripts that Redis runs, in Lua. Redis runs one script at a time, so other clients never see half of its work.

KEYS and ARGV are the arguments that the caller passes; ``store`` says what the keys hold.
"""

from __future__ import annotations

from typing import Final

NOTE_NETWORK: Final = """
-- KEYS: user, the user's known networks. ARGV: the user's born, network, now in s, lifetime in s, bound.
-- Returns 0 if the user was removed meanwhile, else 1.
if redis.call('HGET', KEYS[1], 'born') ~= ARGV[1] then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3] - ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[5] - 1)
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""
"""Notes that a user has logged in from a network now. Forgets networks that are too old, and the oldest of too many."""
