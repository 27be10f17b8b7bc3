-- Keep the record of a task, unless another one stands in its place: that one is returned.
-- KEYS[1] is the prefix of all keys of a mesh. Keys: PREFIX:task:ID (record, hub, ended, run),
-- PREFIX:task-marks (id by owner and key), PREFIX:task-runs (id by run), PREFIX:tasks-alive (hub by
-- id), PREFIX:tasks-of:NAMESPACE (ids by the time of submitting), the same with :state:STATE and
-- :room:ROOM, PREFIX:tasks-ended (ids by the time of ending), PREFIX:tasks-bytes (of those that ended).
local p = KEYS[1]
local id, record, hub, kind, mark, namespace, created, updated, ended, run = unpack(ARGV, 1, 10)
local state, room, seal = unpack(ARGV, 11)
local at = p .. ':task:' .. id
if kind == 'new' and mark ~= '' then
  local other = redis.call('HGET', p .. ':task-marks', mark)
  local standing = other and other ~= id and redis.call('HGET', p .. ':task:' .. other, 'record')
  if standing then return standing end
end
local present = redis.call('HMGET', at, 'record', 'hub', 'ended', 'run', 'state', 'room', 'mark')
-- Of a task that was refused there is nothing, unless Redis had taken it and had no time to say so.
if kind == 'refused' and not present[1] then return false end
if present[1] and present[2] ~= hub then return present[1] end
if present[3] == '1' then
  -- A hub that did not hear that Redis took a batch puts all of it again.
  local last = redis.call('ZSCORE', p .. ':tasks-ended', id)
  if last and tonumber(last) >= tonumber(updated) then return false end
  return present[1]
end
if present[4] and present[4] ~= '' and present[4] ~= run then
  redis.call('HDEL', p .. ':task-runs', present[4])
end
redis.call('HSET', at, 'record', record, 'hub', hub, 'ended', ended, 'run', run, 'mark', mark,
  'namespace', namespace, 'state', state, 'room', room)
if mark ~= '' then redis.call('HSET', p .. ':task-marks', mark, id)
elseif present[7] and present[7] ~= '' then redis.call('HDEL', p .. ':task-marks', present[7]) end
local all = p .. ':tasks-of:' .. namespace
for i, each in ipairs({':state:' .. state, ':room:' .. room}) do
  local before = present[4 + i] and ({':state:', ':room:'})[i] .. present[4 + i]
  if before and before ~= each then redis.call('ZREM', all .. before, id) end
  if before ~= each then redis.call('ZADD', all .. each, created, id) end
end
redis.call('ZADD', all, created, id)
if ended == '1' then
  redis.call('HDEL', p .. ':tasks-alive', id)
  redis.call('ZADD', p .. ':tasks-ended', updated, id)
  redis.call('INCRBY', p .. ':tasks-bytes', #record)
else
  redis.call('HSET', p .. ':tasks-alive', id, hub)
  if run ~= '' then redis.call('HSET', p .. ':task-runs', run, id) end
end
local notice = {namespace, id, hub}
if seal ~= '' then notice[4] = seal end -- where hubs have a key
redis.call('PUBLISH', p .. ':tasks', cjson.encode(notice))
return false
