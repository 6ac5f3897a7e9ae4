-- Reads what a dead incarnation has left; forgets the incarnation where that is nothing.
-- KEYS[1]  presence:{org}:nodes, KEYS[2] presence:{org}:of:<the incarnation> (rooms.lua)
-- ARGV[1]  the incarnation, ARGV[2] most of what is read
-- Returns <channel> US <connection> of each. They stay where they are until reap.lua removes them: a reaper that dies loses nothing.

if lives(ARGV[1]) then
    return {}
end
local found = redis.call('SRANDMEMBER', KEYS[2], ARGV[2])
if #found == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
return found
