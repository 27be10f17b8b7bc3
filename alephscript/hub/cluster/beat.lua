-- Renew a hub's lease, and remove the hubs whose lease has run out or that nobody can send to.
-- 0: this hub itself was removed, or cannot be sent to.
local hub, generation, lease = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
redis.call('PEXPIRE', prefix .. ':hub:' .. hub, lease)
local heard = redis.call('PUBSUB', 'NUMSUB', prefix .. ':to:' .. hub)
if tonumber(heard[2]) == 0 then return 0 end
for _, other in ipairs(redis.call('SMEMBERS', prefix .. ':hubs')) do
  if other ~= hub then
    local listeners = redis.call('PUBSUB', 'NUMSUB', prefix .. ':to:' .. other)
    if tonumber(listeners[2]) == 0 or redis.call('EXISTS', prefix .. ':hub:' .. other) == 0 then
      remove_hub(other)
    end
  end
end
return 1
