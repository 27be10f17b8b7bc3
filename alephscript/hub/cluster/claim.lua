-- Make a peer master of a room; the ones that it displaces stand by below it, and it below others if
-- it reclaims a room, or yields. 0: the hub was removed.
local hub, generation, field, sid, group, entry, reclaiming, floor
hub, generation, field, sid, group, entry, reclaiming, floor, seal = unpack(ARGV)
by = hub
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
local place
for i, master in ipairs(before.masters) do
  if master[2] == sid then place = i end
end
local known = place and before.masters[place]
local acting = before.masters[#before.masters]
local is_member = place and place >= first_acting(before.masters) and acting[3] == group
local stays = place and (reclaiming == '1' or is_member)
if stays and known[1] == hub and known[3] == group and known[4] == entry then
  return {tonumber(redis.call('GET', prefix .. ':seq')), before.epoch} -- nothing new, for anybody
end
local masters = without(before.masters, function(master) return master[2] == sid end)
local goes_below = reclaiming == '1' and #masters > 0
  and (acting[3] == 'single' or acting[3] ~= group)
if not stays then place = goes_below and 1 or #masters + 1 end
table.insert(masters, place, {hub, sid, group, entry})
redis.call('SADD', prefix .. ':claims:' .. hub, field)
return store(field, masters, before, tonumber(floor))
