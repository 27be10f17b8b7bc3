-- Make a peer master of a room. 0: the hub was removed, or other masters go first.
local hub, generation, field, sid, group, entry, reclaiming, floor = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
if reclaiming == '1' and #before.masters > 0
    and (group == 'single' or before.masters[1][3] ~= group) then
  return 0
end
local is_master, is_known = false, false
local masters = {}
for _, master in ipairs(before.masters) do
  if master[2] == sid then
    masters[#masters + 1] = {hub, sid, group, entry}
    is_master = true
    is_known = master[1] == hub and master[3] == group and master[4] == entry
  elseif group ~= 'single' and master[3] == group then
    masters[#masters + 1] = master
  end
end
if is_known and #masters == #before.masters then -- nothing new, for anybody
  return {tonumber(redis.call('GET', prefix .. ':seq')), before.epoch}
end
if not is_master then masters[#masters + 1] = {hub, sid, group, entry} end
redis.call('SADD', prefix .. ':claims:' .. hub, field)
return store(field, masters, before, tonumber(floor))
