-- Put what is said in a room into its log, and tell all hubs that hear the room, in the log's order.
-- The number of the entry, or the name of the log and that number; 0: the hub was removed.
--
-- Keys: PREFIX:log:name, PREFIX:log:last (by room: number of the last entry), PREFIX:log:of:ROOM (a
-- stream, whose ids are 0-NUMBER), PREFIX:log:sizes (by room: bytes), PREFIX:log:total (all bytes),
-- PREFIX:log:gone (by room: when the newest dropped entry was said).
local hub, generation, field, name, item, at, lost, size, most = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local log = prefix .. ':log:'
redis.call('SET', log .. 'name', name, 'NX')
name = redis.call('GET', log .. 'name')
local number = string.format('%d', redis.call('HINCRBY', log .. 'last', field, 1))
redis.call('XADD', log .. 'of:' .. field, '0-' .. number, 'e', item, 'a', at, 'l', lost, 's', size)
redis.call('ZINCRBY', log .. 'sizes', size, field)
local total = redis.call('INCRBY', log .. 'total', size)
while total > tonumber(most) do -- of the largest room the oldest, as many as make room
  local largest = redis.call('ZREVRANGE', log .. 'sizes', 0, 0)[1]
  local key, freed, last, newest = log .. 'of:' .. largest, 0, nil, nil
  for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', 100)) do
    freed, last, newest = freed + tonumber(entry[2][8]), entry[1], entry[2][4]
    if total - freed <= tonumber(most) then break end
  end
  if not last then break end
  redis.call('XTRIM', key, 'MINID', '=', '0-' .. string.format('%d', tonumber(last:sub(3)) + 1))
  redis.call('HSET', log .. 'gone', largest, newest)
  redis.call('ZINCRBY', log .. 'sizes', -freed, largest)
  total = redis.call('DECRBY', log .. 'total', freed)
end
redis.call(is_sharded and 'SPUBLISH' or 'PUBLISH', prefix .. ':in:' .. field,
  'L' .. name .. '\n' .. number .. '\n' .. lost .. '\n' .. item)
return {name, tonumber(number)}
