-- Reads where rooms are, all at one moment.
-- KEYS     the rooms, each followed by its history
-- ARGV[1]  a random part for the ids that are made here
-- ARGV[2]  seconds for which a room is remembered; those named here are remembered for so long from now on
-- Returns epoch and head of each. The epoch is explained in live_publish.lua.

local replication = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 10)
local states = {}
for index = 1, #KEYS, 2 do
    local room = KEYS[index]
    local known = redis.call('HMGET', room, 'id', 'server', 'head')
    local id = known[1]
    if not id then
        redis.call('DEL', KEYS[index + 1])
    end
    if known[2] ~= replication then
        if not id or known[2] then
            id = ARGV[1] .. string.format('%x', index)
        end
        redis.call('HSET', room, 'id', id, 'server', replication)
    end
    redis.call('EXPIRE', room, ARGV[2])
    states[#states + 1] = id .. '.' .. replication
    states[#states + 1] = tonumber(known[3] or 0)
end
return states
