"""Scripts that Redis runs, in Lua. Redis runs one script at a time, so other clients never see half of its work.

KEYS and ARGV are the arguments that the caller passes; ``store`` says what the keys hold.
"""

from __future__ import annotations

from typing import Final

OPEN_SESSION: Final = """
-- KEYS: user, the user's list of sessions, session. ARGV: user id, agent, logged_in, lifetime in s, bound.
-- Returns 0 if there is no such user, else 1. Bound 0: the session is not put into the list.
local born = redis.call('HGET', KEYS[1], 'born')
if not born then
  return 0
end
redis.call('HSET', KEYS[3], 'user', ARGV[1], 'born', born, 'agent', ARGV[2], 'logged_in', ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
local bound = tonumber(ARGV[5])
if bound == 0 then
  return 1
end
-- The scores are in the order of opening, even if the clock is set back.
local time = redis.call('TIME')
local score = time[1] * 1000000 + time[2]
local newest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if newest[2] and tonumber(newest[2]) >= score then
  score = tonumber(newest[2]) + 1
end
redis.call('ZADD', KEYS[2], string.format('%.0f', score), KEYS[3])
if redis.call('ZCARD', KEYS[2]) > bound then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', KEYS[2], key)
    end
  end
  for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, -bound - 1)) do
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], key)
  end
end
-- The list lives as long as the session that ends last.
if redis.call('TTL', KEYS[2]) < tonumber(ARGV[4]) then
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return 1
"""
"""Opens a session. If the user then has more sessions in the list than the bound, those opened first are ended."""

CLOSE_SESSION: Final = """
-- KEYS: session. ARGV: prefix of the keys of lists of sessions. Returns 1, or 0 if there is no such session.
local user = redis.call('HGET', KEYS[1], 'user')
if not user then
  return 0
end
redis.call('ZREM', ARGV[1] .. user, KEYS[1])
return redis.call('DEL', KEYS[1])
"""
"""Ends a session."""

REMOVE_USER: Final = """
-- KEYS: user, set of all users, the user's list of sessions, the user's known networks. ARGV: user id.
-- Returns {1, or 0 if there is no such user; how many sessions were ended}.
local ended = 0
for _, key in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  ended = ended + redis.call('DEL', key)
end
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('SREM', KEYS[2], ARGV[1])
return {redis.call('DEL', KEYS[1]), ended}
"""
"""Removes a user with the sessions in its list and its known networks."""

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
