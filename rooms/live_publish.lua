-- Gives events the next offsets of their rooms, keeps them in the rooms' histories, and publishes each. All rooms are of one
-- organisation.
-- KEYS     for each room two or four:
--            the room, a hash: id, server (whose replication id it was when the id was made), head (the last offset), bytes (of the
--            history), f:<key> (the highest number of a fence, see rooms/fence.py)
--            its history, a stream whose entry ids are <offset>-0
--            the same two of what carries the room, where that is not the room itself
-- ARGV     for each room:
--  1       the pub/sub channel
--  2       ids for what is made here, joined by a comma: the room's, the carrier's
--  3       the channel
--  4..7    the room's history: most entries, most bytes, most seconds; seconds for which the room is remembered
--  8..11   the same of the carrier
--  12, 13  how many keys and how many events the room has
--  14..    the events in their order, each a fence and an envelope. A fence is `number once epoch key`, by single blanks; once
--          is 1 or 0, the epoch * where any will do; it is empty where there is none
-- Returns for each room its epoch and the offset of each event: 0 where the fence has dropped it, -1 where the epoch is another.
--
-- The epoch is the room's id and the server's replication id. The server makes a new one at every start and at every promotion,
-- and keeps none over either: whatever offsets a restart, a failover or an old copy has lost, those that are given next are of
-- another epoch. Reading it costs 5 us, which is why those who publish together call this once.
-- A room that has come from another server of a cluster gets another id too: where it goes back, with less than it had there once,
-- its epoch is not one of before.

local US = '\31'
-- Arguments of a room before its events, and how many fields its hash has: the numbers of the runs of a session stay in it.
local BEFORE_EVENTS, MOST_FIELDS = 13, 256
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

-- Forgets the fences with the smallest keys where there are too many.
local function prune(room)
    if redis.call('HLEN', room) <= MOST_FIELDS then
        return
    end
    local keys = {}
    for _, field in ipairs(redis.call('HKEYS', room)) do
        if string.sub(field, 1, 2) == 'f:' then
            keys[#keys + 1] = field
        end
    end
    table.sort(keys)
    redis.call('HDEL', room, unpack(keys, 1, #keys - MOST_FIELDS / 2))
end

-- Returns 1 where the fence lets the event through, else what stands in place of its offset.
local function let_through(room, epoch, fence)
    if fence == '' then
        return 1
    end
    local number, once, wanted, key = string.match(fence, '^(%d+) ([01]) (%S+) (.+)$')
    if wanted ~= '*' and wanted ~= epoch then
        return -1
    end
    local field = 'f:' .. key
    local highest = redis.call('HGET', room, field)
    local above = highest and tonumber(number) - tonumber(highest) or 1
    if above < 0 or (above == 0 and once == '1') then
        return 0
    end
    if above > 0 then
        redis.call('HSET', room, field, number)
        if not highest then
            prune(room)
        end
    end
    return 1
end

-- Publishes the events of one room, whose keys stand behind `key` and whose arguments behind `arg`.
local function publish(key, arg)
    local room, history = KEYS[key + 1], KEYS[key + 2]
    local new_id, new_carrier_id = string.match(ARGV[arg + 2], '([^,]+),([^,]+)')
    local channel = ARGV[arg + 3]
    local epoch = epoch_of(room, history, new_id)
    local answer, envelopes = { epoch }, {}
    local first_event = arg + BEFORE_EVENTS + 1
    for at = first_event, first_event + 2 * (ARGV[arg + 13] - 1), 2 do
        local verdict = let_through(room, epoch, ARGV[at])
        answer[#answer + 1] = verdict
        if verdict == 1 then
            envelopes[#envelopes + 1] = ARGV[at + 1]
        end
    end
    local count = #envelopes
    if count == 0 then
        redis.call('EXPIRE', room, ARGV[arg + 7])
        return answer
    end

    local function own_body(at)
        return channel .. US .. US .. US .. envelopes[at]
    end
    local first = append(room, history, count, own_body, arg + 4)

    local carrier_epoch, sequence, sent_body = epoch, first, own_body
    if tonumber(ARGV[arg + 12]) == 4 then
        local carrier, carrier_history = KEYS[key + 3], KEYS[key + 4]
        sent_body = function(at)
            return channel .. US .. string.format('%.0f', first + at - 1) .. US .. epoch .. US .. envelopes[at]
        end
        carrier_epoch = epoch_of(carrier, carrier_history, new_carrier_id)
        sequence = append(carrier, carrier_history, count, sent_body, arg + 8)
    end
    for at = 1, count do
        local place = string.format('%.0f', sequence + at - 1)
        redis.call('SPUBLISH', ARGV[arg + 1], '1' .. US .. carrier_epoch .. US .. place .. US .. sent_body(at))
    end
    local following = first
    for at = 2, #answer do
        if answer[at] == 1 then
            answer[at] = following
            following = following + 1
        end
    end
    return answer
end

local answers = {}
local key, arg = 0, 0
while arg < #ARGV do
    answers[#answers + 1] = publish(key, arg)
    key = key + ARGV[arg + 12]
    arg = arg + BEFORE_EVENTS + 2 * ARGV[arg + 13]
end
return answers
