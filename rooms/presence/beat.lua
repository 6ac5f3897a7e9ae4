-- Renews a node's lease in an organisation, and removes what dead incarnations have left: the one reaper.
-- KEYS[1]  presence:{org}:nodes (rooms.lua)
-- ARGV[1]  the node's incarnation; empty: only reap
-- ARGV[2]  ms of the lease; 0: the node has nothing here any more
-- ARGV[3]  1 where the incarnation begins with this
-- ARGV[4]  an id for rooms that are made here
-- ARGV[5]  most connections that are removed by this call, ARGV[6] most subjects of a diff
-- ARGV[7]  what stands before the channel in the name of its pub/sub channel
-- ARGV[8]  nobody is removed for so many seconds after Redis has started: leases have run out that no node could renew
-- Returns how many connections the incarnation has here (-1: it is gone, and nothing was done), how many were removed, 1 where more
-- are to be removed, and the channels in which something is still to be told.

local incarnation, lease = ARGV[1], tonumber(ARGV[2])
if incarnation ~= '' then
    -- Not reaped in the same breath: the node comes again at once, and what it still has stays as it is.
    if ARGV[3] ~= '1' and not lives(incarnation) then
        return { -1, 0, 0 }
    end
    if lease > 0 then
        redis.call('ZADD', KEYS[1], NOW + lease, incarnation)
        redis.call('EXPIRE', index_of(incarnation), KEPT)
    else
        redis.call('ZADD', KEYS[1], NOW - 1, incarnation)
    end
    redis.call('EXPIRE', KEYS[1], KEPT)
end

local function dead_nodes()
    local found = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. string.format('%.0f', NOW), 'BYSCORE', 'LIMIT', 0, 16)
    if #found > 0 and tonumber(ARGV[8]) > 0 then
        local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
        return tonumber(uptime) < tonumber(ARGV[8]) and {} or found
    end
    return found
end

local left, removed, rooms = tonumber(ARGV[5]), 0, {}
for _, dead in ipairs(dead_nodes()) do
    local index = index_of(dead)
    local registered = left > 0 and redis.call('SPOP', index, left) or {}
    for _, each in ipairs(registered) do
        local channel, connection = string.match(each, '^(.*)\31([^\31]*)$')
        rooms[channel] = rooms[channel] or room_of(channel)
        if leave(rooms[channel], dead, connection) then
            removed = removed + 1
        end
    end
    left = left - #registered
    if redis.call('EXISTS', index) == 0 then
        redis.call('ZREM', KEYS[1], dead)
    end
end
local answer = { incarnation == '' and 0 or redis.call('SCARD', index_of(incarnation)), removed, left <= 0 and 1 or 0 }
for channel, room in pairs(rooms) do
    local _, _, more = tell(room, ARGV[7] .. channel, ARGV[4], 0, tonumber(ARGV[6]))
    if more == 1 then
        answer[#answer + 1] = channel
    end
end
return answer
