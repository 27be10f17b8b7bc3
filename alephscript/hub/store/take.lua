-- Let a hub work on tasks from now on; return their records. ARGV: the hub; its signature, if hubs have
-- a key; 'runs' and the runs of
-- the tasks, or 'lost' and the hubs that are there, whose tasks stay theirs.
local p = KEYS[1]
local hub, seal, kind = ARGV[1], ARGV[2], ARGV[3]
local ids, named = {}, {}
for i = 4, #ARGV do
  if kind == 'runs' then ids[#ids + 1] = redis.call('HGET', p .. ':task-runs', ARGV[i]) or nil
  else named[ARGV[i]] = true end
end
if kind == 'lost' then
  local alive = redis.call('HGETALL', p .. ':tasks-alive')
  for i = 1, #alive, 2 do
    local other = alive[i + 1]
    local is_there = named[other] or redis.call('EXISTS', p .. ':hub:' .. other) == 1
    if other ~= hub and not is_there then ids[#ids + 1] = alive[i] end
  end
end
local records = {}
for _, id in ipairs(ids) do
  local at = p .. ':task:' .. id
  local present = redis.call('HMGET', at, 'record', 'ended', 'namespace')
  if present[1] and present[2] ~= '1' then
    redis.call('HSET', at, 'hub', hub)
    redis.call('HSET', p .. ':tasks-alive', id, hub)
    local notice = {present[3], id, hub}
    if seal ~= '' then notice[4], notice[5] = seal, 'taken' end
    redis.call('PUBLISH', p .. ':tasks', cjson.encode(notice))
    records[#records + 1] = present[1]
  end
end
return records
