-- Appends entries to an organisation's tail and publishes those that are new, each once.
-- KEYS[1]  the tail, a stream whose entry ids are <position>-0
-- KEYS[2]  the bytes of the messages in the tail
-- ARGV[1]  the feed's pub/sub channel
-- ARGV[2]  most entries that the tail keeps
-- ARGV[3]  most bytes that it keeps
-- ARGV[4]  seconds that both keys live after this
-- ARGV[5]  position of the first entry, ARGV[6] its message, and so on in pairs, in position order
-- Returns how many were published.

local tail, counter, feed = KEYS[1], KEYS[2], ARGV[1]
local most_entries, most_bytes, lifetime = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
-- The oldest entries go in steps, so that one step's reply stays small in memory.
local STEP = 64

-- Where one of the two keys is gone alone (evicted), the tail is emptied; the stream's last id stays, and refuses as before.
local bytes = 0
if redis.call('XLEN', tail) > 0 then
    local counted = redis.call('GET', counter)
    if counted then
        bytes = tonumber(counted)
    else
        redis.call('XTRIM', tail, 'MAXLEN', 0)
    end
end

local published = 0
for i = 5, #ARGV, 2 do
    local message = ARGV[i + 1]
    local added = redis.pcall('XADD', tail, ARGV[i] .. '-0', 'm', message)
    if type(added) == 'table' and added.err then
        -- Not above the top: published before, or a relay that was replaced speaks late. Anything else is an error.
        if not string.find(added.err, 'equal or smaller', 1, true) then
            redis.call('SET', counter, string.format('%.0f', bytes), 'EX', lifetime)
            return added
        end
    else
        bytes = bytes + #message
        redis.call('SPUBLISH', feed, message)
        published = published + 1
    end
end

-- Not MAXLEN ~: it drops whole nodes of the stream, unseen, so their bytes could not be subtracted.
local entries = redis.call('XLEN', tail)
while entries > 0 and (entries > most_entries or bytes > most_bytes) do
    local gone = 0
    for _, oldest in ipairs(redis.call('XRANGE', tail, '-', '+', 'COUNT', STEP)) do
        if entries - gone <= most_entries and bytes <= most_bytes then
            break
        end
        bytes = bytes - #oldest[2][2]
        gone = gone + 1
    end
    redis.call('XTRIM', tail, 'MAXLEN', entries - gone)
    entries = entries - gone
end

redis.call('SET', counter, string.format('%.0f', bytes), 'EX', lifetime)
redis.call('EXPIRE', tail, lifetime)
return published
