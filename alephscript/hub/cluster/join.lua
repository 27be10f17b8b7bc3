-- Take a hub into the mesh, under a new generation. A hub that knows later decisions than this Redis
-- (it lost its data) has them counted on from there.
local hub, lease, floor, version = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[6]
by, seal = hub, ARGV[4]
if tonumber(redis.call('GET', prefix .. ':seq') or '0') < floor then
  redis.call('SET', prefix .. ':seq', floor)
  redis.call('HDEL', prefix .. ':retained', '')
end
remove_hub(hub)
seal = ARGV[5]
if seal ~= '' then redis.call('HSET', prefix .. ':seals', hub, seal) end
local generation = notice({kind = 'came', hub = hub, version = version})
redis.call('SADD', prefix .. ':hubs', hub)
redis.call('SET', prefix .. ':hub:' .. hub, generation, 'PX', lease)
return generation
