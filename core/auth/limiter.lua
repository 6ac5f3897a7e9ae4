-- Permits for requests of one organisation: out of a window of an hour and of a bucket that refills all the time; both must have them.
-- KEYS[1]  limit:{<org>}  eight doubles: start of the window (unix s), used in it, debt of the bucket (burst less what is in it), when
--                         that was so (unix us), used and debt of the grace share, when this key was made (unix us), and how much of
--                         what is used was counted by keys before it
-- ARGV     per hour, burst, how many are asked for, weight of each, 1 where the grace share may give them,
--          used without asking us, and of a window that we may have lost: its start, used in it, debt of the bucket now, when the
--          key that said so was made; a time in us in place of ours, or nothing
-- Returns {granted, granted by grace, used, debt in thousandths, start of the window, our time in us, when the key was made}.
local per_hour, burst, count, weight = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[11])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local start = math.floor(now / 3600000000) * 3600
local used, debt, grace_used, grace_debt = 0, 0, 0, 0
local rate = per_hour / 3600000000
local made, before = 0, 0
local kept = redis.call('GET', KEYS[1])
if kept then
    local at, was
    was, used, debt, at, grace_used, grace_debt, made, before = struct.unpack('dddddddd', kept)
    if was > start and was * 1000000 - now < 60000000 then
        start = was -- the clock was set back a little, or a replica's differs: the new window has begun
    elseif was ~= start then
        used, grace_used, before = 0, 0, 0
    end
    local refilled = math.max(0, now - at) * rate
    debt, grace_debt = math.max(0, debt - refilled), math.max(0, grace_debt - refilled / 10)
else
    local time = redis.call('TIME')
    made = time[1] * 1000000 + time[2]
end
if tonumber(ARGV[7]) == start then
    local remembered = tonumber(ARGV[8])
    if tonumber(ARGV[10]) == made then
        used = math.max(used, remembered)
    elseif remembered > before then
        -- Nodes remember different times of the key that was lost: the latest counts, beside what was used since.
        used, before = used + remembered - before, remembered
    end
end
used = used + tonumber(ARGV[6])
debt = math.min(burst, math.max(debt, tonumber(ARGV[9])))

local function take(limit, most, taken, owed, wanted)
    if limit < 1 or most < 1 then
        return 0, 0
    end
    local each = math.min(weight, limit, most)
    -- A permit that is there but for the rounding of doubles is there.
    local fit = math.floor(math.min((limit - taken) / each, (most - owed) / each + 0.000001))
    return math.max(0, math.min(wanted, fit)), each
end

local granted, each = take(per_hour, burst, used, debt, count)
used, debt = used + granted * each, debt + granted * each
local graced = 0
if ARGV[5] == '1' and granted < count then
    local limit, most = math.ceil(per_hour / 10), math.ceil(burst / 10)
    grace_debt = math.min(most, grace_debt)
    graced, each = take(limit, most, grace_used, grace_debt, count - granted)
    grace_used, grace_debt = grace_used + graced * each, grace_debt + graced * each
end
if per_hour > 0 then
    local life = math.max(start * 1000 + 3600000 - now / 1000, math.max(debt, grace_debt * 10) / rate / 1000) + 60000
    redis.call('SET', KEYS[1], struct.pack('dddddddd', start, used, debt, now, grace_used, grace_debt, made, before),
        'PX', string.format('%.0f', life))
end
return {granted, graced, used, math.ceil(debt * 1000), start, now, made}
