-- Gives events the next offsets of their room, keeps them in the room's history, and publishes each.
-- KEYS[1]  the room, a hash: id, server (whose replication id it was when the id was made), head (the last offset), bytes (of the history)
-- KEYS[2]  its history, a stream whose entry ids are <offset>-0
-- KEYS[3], KEYS[4]  the same of what carries the room, where that is not the room itself
-- ARGV[1]  the pub/sub channel
-- ARGV[2]  ids for what is made here, joined by a comma: the room's, the carrier's
-- ARGV[3]  the channel
-- ARGV[4..7]   the room's history: most entries, most bytes, most seconds; seconds for which the room is remembered
-- ARGV[8..11]  the same of the carrier
-- ARGV[12..]   the envelopes, in their order
-- Returns the offset of the first and the room's epoch; the others follow it.
--
-- The epoch is the room's id and the server's replication id. The server makes a new one at every start and at every promotion,
-- and keeps none over either: whatever offsets a restart, a failover or an old copy has lost, those that are given next are of
-- another epoch. Reading it costs 5 us, which is why those who publish together call this once.
-- A room that has come from another server of a cluster gets another id too: where it goes back, with less than it had there once,
-- its epoch is not one of before.

local US = '\31'
local replication = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 10)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Returns the room's epoch. Without its hash a room begins anew, and what is left of its history is of no use.
local function epoch_of(room, history, new_id)
    local known = redis.call('HMGET', room, 'id', 'server')
    local id = known[1]
    if not id then
        redis.call('DEL', history)
    end
    if known[2] ~= replication then
        -- The release before did not write which server it was.
        if not id or known[2] then
            id = new_id
        end
        redis.call('HSET', room, 'id', id, 'server', replication)
    end
    return id .. '.' .. replication
end

-- Drops the oldest entries beyond the bounds; the last one always stays.
local function trim(history, bytes, most_entries, most_bytes, oldest)
    local entries = redis.call('XLEN', history)
    local done = false
    while entries > 1 and not done do
        local gone = 0
        for _, entry in ipairs(redis.call('XRANGE', history, '-', '+', 'COUNT', 4)) do
            local fields = entry[2]
            if entries - gone <= 1 or
                (entries - gone <= most_entries and bytes <= most_bytes and tonumber(fields[2]) >= oldest) then
                done = true
                break
            end
            bytes = bytes - #fields[4]
            gone = gone + 1
        end
        if gone > 0 then
            redis.call('XTRIM', history, 'MAXLEN', entries - gone)
            entries = entries - gone
        end
    end
    return bytes
end

-- Keeps bodies under the next offsets, and returns the first of these.
local function append(room, history, count, body_of, bounds)
    local bytes = 0
    -- The history alone may have gone: it expires sooner, and can be evicted.
    if redis.call('EXISTS', history) == 1 then
        bytes = tonumber(redis.call('HGET', room, 'bytes') or 0)
    end
    local first = redis.call('HINCRBY', room, 'head', count) - count + 1
    for at = 1, count do
        local body = body_of(at)
        redis.call('XADD', history, string.format('%.0f-0', first + at - 1), 't', now, 'm', body)
        bytes = bytes + #body
    end
    bytes = trim(history, bytes, tonumber(ARGV[bounds]), tonumber(ARGV[bounds + 1]), now - ARGV[bounds + 2] * 1000)
    redis.call('HSET', room, 'bytes', string.format('%.0f', bytes))
    redis.call('EXPIRE', history, ARGV[bounds + 2])
    redis.call('EXPIRE', room, ARGV[bounds + 3])
    return first
end

local ENVELOPES = 11
local new_id, new_carrier_id = string.match(ARGV[2], '([^,]+),([^,]+)')
local channel, count = ARGV[3], #ARGV - ENVELOPES

local epoch = epoch_of(KEYS[1], KEYS[2], new_id)
local function own_body(at)
    return channel .. US .. US .. US .. ARGV[ENVELOPES + at]
end
local first = append(KEYS[1], KEYS[2], count, own_body, 4)

local carrier_epoch, sequence, sent_body = epoch, first, own_body
if KEYS[3] then
    sent_body = function(at)
        return channel .. US .. string.format('%.0f', first + at - 1) .. US .. epoch .. US .. ARGV[ENVELOPES + at]
    end
    carrier_epoch = epoch_of(KEYS[3], KEYS[4], new_carrier_id)
    sequence = append(KEYS[3], KEYS[4], count, sent_body, 8)
end
for at = 1, count do
    local place = string.format('%.0f', sequence + at - 1)
    redis.call('SPUBLISH', ARGV[1], '1' .. US .. carrier_epoch .. US .. place .. US .. sent_body(at))
end
return { first, epoch }
