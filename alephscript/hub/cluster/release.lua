-- Make a peer master of a room no longer. 0: the hub was removed, or the peer was no master.
local hub, generation, field, sid = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
local masters = without(before.masters, function(master) return master[2] == sid end)
if #masters == #before.masters then return 0 end
local others = 0
for _, master in ipairs(masters) do if master[1] == hub then others = others + 1 end end
if others == 0 then redis.call('SREM', prefix .. ':claims:' .. hub, field) end
return store(field, masters, before, 0)
