-- Reads where a room is, and a part of its members, at one moment.
-- KEYS[1]  presence:{org}:nodes (rooms.lua)
-- ARGV[1]  the channel, ARGV[2] an id for a room that is made here
-- ARGV[3]  the subject after which the part begins, empty: at the first; ARGV[4] most members
-- Returns epoch, version, how many members and connections there are, and subject and record of each member.

local room = room_of(ARGV[1])
local answer = {
    epoch_of(room, ARGV[2]),
    tonumber(redis.call('HGET', room.room, 'version') or 0),
    redis.call('HLEN', room.members),
    redis.call('HLEN', room.connections),
}
redis.call('EXPIRE', room.room, KEPT)
local subjects = {}
if tonumber(ARGV[4]) > 0 then
    subjects = redis.call('ZRANGEBYLEX', room.order, ARGV[3] == '' and '-' or '(' .. ARGV[3], '+', 'LIMIT', 0, ARGV[4])
end
local records = #subjects > 0 and redis.call('HMGET', room.members, unpack(subjects)) or {}
for at, subject in ipairs(subjects) do
    if records[at] then
        answer[#answer + 1] = subject
        answer[#answer + 1] = records[at]
    end
end
return answer
