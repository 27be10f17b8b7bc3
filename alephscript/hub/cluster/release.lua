-- Make a peer master of a room no longer. 0: the hub was removed, or the peer was no master.
local hub, generation, field, sid
hub, generation, field, sid, seal = unpack(ARGV)
by = hub
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
local masters = without(before.masters, function(master) return master[2] == sid end)
if #masters == #before.masters then return 0 end
return store(field, masters, before, 0)
