-- Renew a hub's lease, and remove the hubs whose lease has run out or that nobody can send to; where
-- hubs have a key, return their names instead, as each removal needs a signature (`remove`).
-- 0: this hub itself was removed, or cannot be sent to.
local hub, generation, lease, has_key = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
by, seal = hub, ''
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
redis.call('PEXPIRE', prefix .. ':hub:' .. hub, lease)
if not is_heard(hub) then return 0 end
local silent = {}
for _, other in ipairs(redis.call('SMEMBERS', prefix .. ':hubs')) do
  if other ~= hub and is_silent(other) then
    if has_key == '1' then silent[#silent + 1] = other else remove_hub(other) end
  end
end
if #silent > 0 then return silent end
return 1
