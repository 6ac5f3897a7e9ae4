-- A node says that it lives; who has not said so for a lease is gone.
-- KEYS[1]  nodes     sorted set: node by the end of its lease, ms of Redis' own clock
-- ARGV     node, lease in ms (0: the node leaves)
-- Returns the nodes that live.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local lease = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], ms + lease, ARGV[1])
if lease > 0 then
    redis.call('PEXPIRE', KEYS[1], lease * 10)
end
local living = redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.0f', ms), '+inf', 'BYSCORE')
-- Last: without nodes the key is gone, and in a slot that is moved key by key it must not be asked for again.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
return living
