-- Reads where a room is, and a part of its history, at one moment.
-- KEYS[1]  the room, KEYS[2]  its history
-- KEYS[3], KEYS[4]  the same of what carries the room; the same keys where that is the room itself
-- KEYS[5]  what stands in place of bodies of the history (live_amend.lua), asked where the room says that there is something
-- ARGV[1]  ids for what is made here, joined by a comma: the room's, the carrier's
-- ARGV[2]  seconds for which a room is remembered
-- ARGV[3]  the oldest age that is shown, in seconds
-- ARGV[4]  'after' or 'before'; ARGV[5] the offset; ARGV[6] most entries. 'after' gives the oldest above the offset,
--          'before' the latest below it; without an offset (an empty one) the first, or the last.
-- Returns epoch, head, the carrier's epoch and head, and the entries: oldest first after 'after', latest first after 'before'.
-- The epoch is explained in live_publish.lua.

local replication = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 10)
local oldest = redis.call('TIME')[1] * 1000 - ARGV[3] * 1000

local function state_of(room, history, new_id)
    local known = redis.call('HMGET', room, 'id', 'server', 'head', 'edited')
    local id = known[1]
    if known[2] ~= replication then
        local is_new = not id
        if is_new or known[2] then
            id = new_id
        end
        redis.call('HSET', room, 'id', id, 'server', replication)
        if is_new then
            redis.call('DEL', history)
            redis.call('EXPIRE', room, ARGV[2])
        end
    end
    return id .. '.' .. replication, tonumber(known[3] or 0), known[1] and known[4]
end

local new_id, new_carrier_id = string.match(ARGV[1], '([^,]+),([^,]+)')
local epoch, head, is_edited = state_of(KEYS[1], KEYS[2], new_id)
local carrier_epoch, sequence = state_of(KEYS[3], KEYS[4], new_carrier_id)

local rows = {}
if tonumber(ARGV[6]) > 0 then
    local bound = ARGV[5]
    if ARGV[4] == 'after' then
        rows = redis.call('XRANGE', KEYS[2], bound == '' and '-' or '(' .. bound .. '-0', '+', 'COUNT', ARGV[6])
    elseif bound ~= '0' then -- nothing is below the first
        rows = redis.call('XREVRANGE', KEYS[2], bound == '' and '+' or '(' .. bound .. '-0', '-', 'COUNT', ARGV[6])
    end
end
local shown = {}
for _, row in ipairs(rows) do
    if tonumber(row[2][2]) >= oldest then
        shown[#shown + 1] = row[1]
        shown[#shown + 1] = row[2][4]
    end
end
if is_edited and #shown > 0 then
    local offsets = {}
    for at = 1, #shown, 2 do
        offsets[#offsets + 1] = string.match(shown[at], '^(%d+)')
    end
    for at, edit in ipairs(redis.call('HMGET', KEYS[5], unpack(offsets))) do
        if edit then
            shown[2 * at] = string.match(edit, '^%d+\31(.*)$')
        end
    end
end
return { epoch, head, carrier_epoch, sequence, shown }
