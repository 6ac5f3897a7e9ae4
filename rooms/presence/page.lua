-- Reads where a room is, and a part of its members, at one moment.
-- KEYS[1..4]  the room's: room, connections, members, order (rooms.lua)
-- ARGV[1]  an id for a room that is made here
-- ARGV[2]  the subject after which the part begins, empty: at the first; ARGV[3] most members
-- Returns epoch, version, how many members and connections there are, and subject and record of each member.

local room = room_of(1)
local answer = {
    epoch_of(room, ARGV[1]),
    tonumber(redis.call('HGET', room.room, 'version') or 0),
    redis.call('HLEN', room.members),
    redis.call('HLEN', room.connections),
}
redis.call('EXPIRE', room.room, KEPT)
local subjects = {}
if tonumber(ARGV[3]) > 0 then
    -- It shows what is still to be told (rooms.lua).
    redis.call('HSET', room.room, 'read', 1)
    subjects = redis.call('ZRANGEBYLEX', room.order, ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])
end
local records = #subjects > 0 and redis.call('HMGET', room.members, unpack(subjects)) or {}
for at, subject in ipairs(subjects) do
    if records[at] then
        answer[#answer + 1] = subject
        answer[#answer + 1] = records[at]
    end
end
return answer
