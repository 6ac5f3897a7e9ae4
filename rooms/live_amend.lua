-- Has the history of a room show another body in place of one that it holds.
-- KEYS[1]  the room, KEYS[2]  its history
-- KEYS[3]  what stands in place of bodies, a hash: <offset> -> <revision> US <body>
-- ARGV[1]  the epoch, as live_read.lua has told it; ARGV[2] the offset; ARGV[3] the revision that is shown now, 0 of the body as it came
-- ARGV[4]  the revision from now on, ARGV[5] the body from now on
-- ARGV[6]  most bytes of such bodies together, ARGV[7] seconds for which the room is remembered
-- Returns 1; 0 where another revision is shown, -1 where the history does not hold it (any more), -2 where it is too much.
--
-- Entries of a stream cannot be changed. The room's field `edited` says that the hash is to be asked: without it, as of a room that
-- has begun anew, what is in the hash is of another life.

local US = '\31'
local replication = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 10)
local known = redis.call('HMGET', KEYS[1], 'id', 'server', 'edited')
if not known[1] or known[2] ~= replication or known[1] .. '.' .. replication ~= ARGV[1] then
    return -1
end
local id = ARGV[2] .. '-0'
if #redis.call('XRANGE', KEYS[2], id, id) == 0 then
    return -1
end
local shown = known[3] and redis.call('HGET', KEYS[3], ARGV[2])
local revision = shown and string.match(shown, '^(%d+)') or '0'
if revision ~= ARGV[3] then
    return 0
end

-- What the history has dropped is not asked for any more, nor what is of another life.
local first = tonumber(string.match(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][1], '^(%d+)'))
local bytes, dropped = #ARGV[5], {}
for _, offset in ipairs(redis.call('HKEYS', KEYS[3])) do
    if offset ~= ARGV[2] then
        if not known[3] or tonumber(offset) < first then
            dropped[#dropped + 1] = offset
        else
            bytes = bytes + redis.call('HSTRLEN', KEYS[3], offset)
        end
    end
end
if bytes > tonumber(ARGV[6]) then
    return -2
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4] .. US .. ARGV[5])
-- Not before: an emptied key is gone, and in a slot that is moved key by key it could not be made again.
for _, offset in ipairs(dropped) do
    redis.call('HDEL', KEYS[3], offset)
end
redis.call('HSET', KEYS[1], 'edited', 1)
-- Longer than the history shows what there is now.
redis.call('EXPIRE', KEYS[3], ARGV[7])
redis.call('EXPIRE', KEYS[1], ARGV[7])
return 1
