-- Registers and forgets connections of one room, and tells what has changed, where it is time for that.
-- KEYS[1]  presence:{org}:nodes, KEYS[2] presence:{org}:of:<the node's incarnation>
-- KEYS[3..8]  the room's: room, connections, members, order, said, touched; KEYS[9] presence:{org}:nothing (rooms.lua)
-- ARGV[1]  the node's incarnation, ARGV[2] the channel, ARGV[3] the pub/sub channel, ARGV[4] an id for a room that is made here
-- ARGV[5]  ms between two diffs, ARGV[6] most subjects of one
-- ARGV[7..]  for each connection its id, subject, joined_at and data (rooms.lua); an empty subject: it has left
-- Returns epoch, version, and 1 where something is still to be told; nothing where the incarnation is gone: then nothing was done.

local incarnation = ARGV[1]
if not lives(incarnation) then
    return {}
end
local room = room_of(3, ARGV[2])
look_for_readers(room)
for at = 7, #ARGV, 4 do
    if ARGV[at + 1] == '' then
        leave(room, incarnation, ARGV[at])
    else
        enter(room, incarnation, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
    end
end
local answer = { tell(room, ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])) }
keep(room)
redis.call('EXPIRE', KEYS[2], KEPT)
return answer
