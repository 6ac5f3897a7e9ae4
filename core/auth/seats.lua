-- What one node holds of an organisation's seats, set as a whole: said twice it is the same, and a lost answer is mended by the next.
-- KEYS[1]  seats:{<org>}     hash: node -> "<held> <until, ms>"
-- ARGV     node, held, wanted, limit, lease in ms
-- Returns {granted, held by others}. The shares of nodes that are dead or gone are removed on the way.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local node, held, wanted, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local others, gone = 0, {}
local shares = redis.call('HGETALL', KEYS[1])
for index = 1, #shares, 2 do
    if shares[index] ~= node then
        local share, ends = string.match(shares[index + 1], '^(%d+) (%d+)$')
        if not share or tonumber(ends) <= ms then
            gone[#gone + 1] = shares[index]
        else
            others = others + tonumber(share)
        end
    end
end
local granted = math.max(0, math.min(wanted, limit - others - held))
if held + granted > 0 then
    redis.call('HSET', KEYS[1], node, string.format('%d %d', held + granted, ms + lease))
    redis.call('PEXPIRE', KEYS[1], lease * 2)
else
    gone[#gone + 1] = node
end
-- Last, and at once: without shares the key is gone, and in a slot that is moved key by key it must not be asked for again.
if #gone > 0 then
    redis.call('HDEL', KEYS[1], unpack(gone))
end
return {granted, others}
