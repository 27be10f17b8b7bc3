-- Forget tasks that ended before a time, and the first of those that take too much; so many at once.
local p = KEYS[1]
local since, most_bytes, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ended = redis.call('ZRANGE', p .. ':tasks-ended', 0, most - 1, 'WITHSCORES')
local count = 0
for i = 1, #ended, 2 do
  local bytes = tonumber(redis.call('GET', p .. ':tasks-bytes') or '0')
  if tonumber(ended[i + 1]) >= since and bytes <= most_bytes then break end
  local id = ended[i]
  local at = p .. ':task:' .. id
  local present = redis.call('HMGET', at, 'record', 'mark', 'namespace', 'state', 'room')
  redis.call('ZREM', p .. ':tasks-ended', id)
  if present[1] then
    redis.call('DECRBY', p .. ':tasks-bytes', #present[1])
    local all = p .. ':tasks-of:' .. present[3]
    redis.call('ZREM', all, id)
    redis.call('ZREM', all .. ':state:' .. present[4], id)
    redis.call('ZREM', all .. ':room:' .. present[5], id)
    if present[2] ~= '' then redis.call('HDEL', p .. ':task-marks', present[2]) end
    redis.call('DEL', at)
  end
  count = count + 1
end
return count
