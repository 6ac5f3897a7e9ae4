-- What the scripts that touch a room share; it stands before each of them (store.py), behind leases.lua.
--
-- All keys of an organisation have its id as their hash tag, so they are in one slot. They are
--   presence:{org}:nodes                 sorted set: the incarnations of nodes that have members here, by the end of their lease (ms)
--   presence:{org}:of:<incarnation>      set: <channel> US <connection>, what it has registered
-- and for each room, presence:{org}:<what>:<channel>:
--   room         hash: id, server (whose replication id it was when the id was made), version, at (when it was last told, ms),
--                said (a counter), read (there, where a list was read while something was still to be told)
--   connections  hash: connection -> incarnation US subject US joined_at US number US data
--   members      hash: subject -> connections US joined_at US data
--   order        sorted set of the subjects, all with score 0: the order of pages
--   said         the same of <subject> US <number, 16 digits> US <connection>: whose data is newest
--   touched      hash: subject -> what `members` had of it when the room was last told, or nothing; SHOWN where a list that was read
--                since may have another
-- Subjects and data are JSON text, so that a diff is put together without a parser; no such text holds US.
--
-- What a script touches it is told by KEYS, and makes no name of its own: while a cluster moves a slot key by key, Redis looks at
-- these to refuse a script of which it does not have all. That is not enough for one that empties a key, which is gone then, and
-- asks for it again: in a slot that is being moved this is an error in its middle. So those that remove something name one key more,
--   presence:{org}:nothing               which never is
-- and are refused as long as the slot is on its way (TRYAGAIN; core/store/cluster.py).

local US = '\31'
-- Equal to no record, and not to nothing: so the subject is told as it is, or that it has left.
local SHOWN = '?'
-- Diffs that one call publishes: some milliseconds, in which nothing else runs in Redis.
local MOST_DIFFS = 5

-- Returns the room whose keys begin with KEYS[first].
local function room_of(first, channel)
    -- `changing` are subjects that this call has touched.
    local room = { channel = channel, changing = {}, is_read = false }
    for at, what in ipairs({ 'room', 'connections', 'members', 'order', 'said', 'touched' }) do
        room[what] = KEYS[first + at - 1]
    end
    return room
end

-- The epoch is explained in live_publish.lua.
local function epoch_of(room, new_id)
    local replication = server()
    local known = redis.call('HMGET', room.room, 'id', 'server')
    local id = known[1]
    if known[2] ~= replication then
        id = new_id
        redis.call('HSET', room.room, 'id', id, 'server', replication)
    end
    return id .. '.' .. replication
end

local function keep(room)
    for _, what in ipairs({ 'room', 'connections', 'members', 'order', 'said', 'touched' }) do
        redis.call('EXPIRE', room[what], KEPT)
    end
end

local function connection_of(room, connection)
    local record = redis.call('HGET', room.connections, connection)
    if not record then
        return nil
    end
    local incarnation, subject, joined_at, number, data =
        string.match(record, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$')
    return { incarnation = incarnation, subject = subject, joined_at = joined_at, number = number, data = data }
end

local function member_of(record)
    local connections, joined_at, data = string.match(record, '^([^\31]*)\31([^\31]*)\31(.*)$')
    return { connections = tonumber(connections), joined_at = joined_at, data = data }
end

-- Returns what the subject's connections said last.
local function data_of(room, subject)
    local from = subject .. US
    local newest = redis.call('ZREVRANGEBYLEX', room.said, '[' .. from .. '\255', '[' .. from, 'LIMIT', 0, 1)[1]
    if not newest then
        return 'null'
    end
    local known = connection_of(room, string.sub(newest, #from + 18))
    return known and known.data or 'null'
end

-- Finds out whether a list was read since something is to be told. It stands before all changes: where it fails, nothing is half done.
local function look_for_readers(room)
    if redis.call('EXISTS', room.touched) == 0 then
        redis.call('HDEL', room.room, 'read')
    elseif redis.call('HEXISTS', room.room, 'read') == 1 then
        room.is_read = true
    end
end

-- Returns the subject as it is, having noted how it was when the room was last told.
--
-- Where it has changed since, by another call, a list may have shown what is about to be changed back: then a diff says how it is,
-- though it is as it was. What nobody can have read costs nothing.
local function touch(room, subject)
    local record = redis.call('HGET', room.members, subject)
    local is_first = redis.call('HSETNX', room.touched, subject, record or '') == 1
    if room.is_read and not is_first and not room.changing[subject] then
        if redis.call('HGET', room.touched, subject) ~= (record or '') then
            redis.call('HSET', room.touched, subject, SHOWN)
        end
    end
    room.changing[subject] = true
    return record and member_of(record)
end

local function put_member(room, subject, member)
    local record = string.format('%d', member.connections) .. US .. member.joined_at .. US .. member.data
    redis.call('HSET', room.members, subject, record)
end

local function said_of(subject, number, connection)
    return subject .. US .. number .. US .. connection
end

-- Registers a connection, or what it says now; empty data is that it says nothing new. KEYS[2] is the incarnation's index.
--
-- Where the connection was another incarnation's, that one is dead, and has it in its index until the reaper finds it to be no more its own.
local function enter(room, incarnation, connection, subject, joined_at, data)
    -- Also where the room has it: Redis may have lost the index alone.
    redis.call('SADD', KEYS[2], room.channel .. US .. connection)
    local known = connection_of(room, connection)
    if known and known.incarnation == incarnation and (data == '' or data == known.data) then
        return
    end
    local number = known and known.number or ''
    if data ~= '' and not (known and known.data == data) then
        if number ~= '' then
            redis.call('ZREM', room.said, said_of(subject, number, connection))
        end
        number = string.format('%016d', redis.call('HINCRBY', room.room, 'said', 1))
        redis.call('ZADD', room.said, 0, said_of(subject, number, connection))
    elseif known then
        data = known.data
    end
    local record = incarnation .. US .. subject .. US .. joined_at .. US .. number .. US .. data
    redis.call('HSET', room.connections, connection, record)
    local member = touch(room, subject)
    if not member then
        member = { connections = 0, joined_at = joined_at }
        redis.call('ZADD', room.order, 0, subject)
    end
    member.connections = member.connections + (known and 0 or 1)
    -- After Redis has lost the room, those who were there first may come second.
    member.joined_at = joined_at < member.joined_at and joined_at or member.joined_at
    member.data = data_of(room, subject)
    put_member(room, subject, member)
end

-- Forgets a connection, if it is of this incarnation. KEYS[2] is the incarnation's index.
local function leave(room, incarnation, connection)
    redis.call('SREM', KEYS[2], room.channel .. US .. connection)
    local known = connection_of(room, connection)
    if not known or known.incarnation ~= incarnation then
        return false
    end
    redis.call('HDEL', room.connections, connection)
    if known.number ~= '' then
        redis.call('ZREM', room.said, said_of(known.subject, known.number, connection))
    end
    local member = touch(room, known.subject)
    if member and member.connections > 1 then
        member.connections = member.connections - 1
        member.data = data_of(room, known.subject)
        put_member(room, known.subject, member)
    else
        redis.call('HDEL', room.members, known.subject)
        redis.call('ZREM', room.order, known.subject)
    end
    return true
end

local function shown(subject, record)
    local member = member_of(record)
    return '{"subject":' .. subject .. string.format(',"connections":%d,"data":', member.connections) .. member.data ..
        ',"joined_at":"' .. member.joined_at .. '"}'
end

-- Takes at most so many of the touched subjects out; returns subjects and how each was.
local function taken(room, most)
    local number = redis.call('HLEN', room.touched)
    local rows
    if number <= most then
        rows = redis.call('HGETALL', room.touched)
        redis.call('DEL', room.touched)
    else
        rows = redis.call('HRANDFIELD', room.touched, most, 'WITHVALUES')
    end
    local subjects, before = {}, {}
    for at = 1, #rows, 2 do
        subjects[#subjects + 1] = rows[at]
        before[#before + 1] = rows[at + 1]
    end
    if number > most then
        redis.call('HDEL', room.touched, unpack(subjects))
    end
    return subjects, before
end

-- Publishes a diff of at most `most` of the touched subjects, where they are other than when the room was last told.
--
-- A message is 1 US epoch US version US body, the body being the members of a JSON object without its braces.
local function tell_some(room, pubsub, epoch, most)
    local subjects, before = taken(room, most)
    local records = redis.call('HMGET', room.members, unpack(subjects))
    local joined, left, updated = {}, {}, {}
    for index, subject in ipairs(subjects) do
        local record = records[index]
        if not record then
            if before[index] ~= '' then
                left[#left + 1] = '{"subject":' .. subject .. '}'
            end
        elseif before[index] == '' then
            joined[#joined + 1] = shown(subject, record)
        elseif before[index] ~= record then
            updated[#updated + 1] = shown(subject, record)
        end
    end
    if #joined + #left + #updated > 0 then
        local version = redis.call('HINCRBY', room.room, 'version', 1)
        redis.call('HSET', room.room, 'at', NOW)
        local body = '"joined":[' .. table.concat(joined, ',') .. '],"left":[' .. table.concat(left, ',') ..
            '],"updated":[' .. table.concat(updated, ',') .. string.format('],"count":{"members":%d,"connections":%d}',
                redis.call('HLEN', room.members), redis.call('HLEN', room.connections))
        redis.call('SPUBLISH', pubsub, '1' .. US .. epoch .. US .. string.format('%.0f', version) .. US .. body)
    end
end

-- Tells what has changed since the room was last told, if that is `tick` ms ago: in diffs of at most `most` subjects, at most
-- MOST_DIFFS of them. Returns the epoch, the version, and 1 where something is still to be told.
local function tell(room, pubsub, new_id, tick, most)
    local epoch = epoch_of(room, new_id)
    local at = redis.call('HGET', room.room, 'at')
    -- A clock of Redis that was set back does not keep a room silent.
    if not (at and NOW >= tonumber(at) and NOW - tonumber(at) < tick) then
        for _ = 1, MOST_DIFFS do
            if redis.call('EXISTS', room.touched) == 0 then
                break
            end
            tell_some(room, pubsub, epoch, most)
        end
    end
    local version = tonumber(redis.call('HGET', room.room, 'version') or 0)
    return epoch, version, redis.call('EXISTS', room.touched)
end
