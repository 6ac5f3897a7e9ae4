-- Removes connections that a dead incarnation has left in one room, and tells that. Who finds them gone, or another's, changes nothing.
-- KEYS[1]  presence:{org}:nodes, KEYS[2] presence:{org}:of:<the incarnation>
-- KEYS[3..8]  the room's: room, connections, members, order, said, touched; KEYS[9] presence:{org}:nothing (rooms.lua)
-- ARGV[1]  the incarnation, ARGV[2] the channel, ARGV[3] the pub/sub channel, ARGV[4] an id for a room that is made here
-- ARGV[5]  most subjects of a diff
-- ARGV[6..]  the connections
-- Returns how many were removed, and 1 where something is still to be told.

local incarnation, removed = ARGV[1], 0
if lives(incarnation) then
    return { 0, 0 }
end
local room = room_of(3, ARGV[2])
look_for_readers(room)
for at = 6, #ARGV do
    if leave(room, incarnation, ARGV[at]) then
        removed = removed + 1
    end
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('ZREM', KEYS[1], incarnation)
end
if removed == 0 then
    return { 0, 0 }
end
local _, _, more = tell(room, ARGV[3], ARGV[4], 0, tonumber(ARGV[5]))
return { removed, more }
