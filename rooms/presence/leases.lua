-- Leases of nodes in an organisation, and the life of Redis: what all scripts of presence share. KEYS[1] is presence:{org}:nodes, but for
-- page.lua, which asks for no lease.

-- Seconds for which is kept what nobody touches: nodes touch theirs more often.
local KEPT = 86400
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function lives(incarnation)
    local lease = redis.call('ZSCORE', KEYS[1], incarnation)
    return lease and tonumber(lease) >= NOW
end

-- Returns what names this life of Redis: another one may have lost what the one before it had.
local function server()
    return string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 10)
end
