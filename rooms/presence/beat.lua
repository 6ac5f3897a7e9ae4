-- Renews a node's lease in an organisation, and tells who is dead there.
-- KEYS[1]  presence:{org}:nodes (rooms.lua); this alone, so that no lease ends for want of a beat while a slot is moved key by key
-- ARGV[1]  the node's incarnation; empty: only look
-- ARGV[2]  ms of the lease; 0: the node has nothing here any more
-- ARGV[3]  1 where the incarnation begins with this
-- ARGV[4]  nobody is dead for so many seconds after Redis has started: leases have run out that no node could renew
-- Returns 1, or 0 where the incarnation is gone, and nothing was done; what names this life of Redis; and incarnations that are dead,
-- 64 at most.

local incarnation, lease = ARGV[1], tonumber(ARGV[2])
if incarnation ~= '' then
    if ARGV[3] ~= '1' and not lives(incarnation) then
        return { 0 }
    end
    redis.call('ZADD', KEYS[1], lease > 0 and NOW + lease or NOW - 1, incarnation)
    redis.call('EXPIRE', KEYS[1], KEPT)
end

local function dead_nodes()
    local found = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', NOW), 'BYSCORE', 'LIMIT', 0, 64)
    if #found > 0 and tonumber(ARGV[4]) > 0 then
        local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
        return tonumber(uptime) < tonumber(ARGV[4]) and {} or found
    end
    return found
end

return { 1, server(), unpack(dead_nodes()) }
