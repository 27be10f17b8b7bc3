-- Put what is said in a room into its log, and tell all hubs that hear the room, in the log's order.
-- The name of the log and the number of the entry; 0: the hub was removed, or whether an entry is there
-- that may have been put there before (`again`) would take too long to find out.
--
-- Keys: PREFIX:log:name, PREFIX:log:last (by room: number of the last entry), PREFIX:log:of:ROOM (a
-- stream, whose ids are 0-NUMBER), PREFIX:log:sizes (by room: bytes), PREFIX:log:total (all bytes),
-- PREFIX:log:gone (by room: when the newest dropped entry was said).
local hub, generation, field, name, item, at, lost, size, most, again = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local log = prefix .. ':log:'
redis.call('SET', log .. 'name', name, 'NX')
name = redis.call('GET', log .. 'name')
if again then
  local is_known, place, left = false, '+', 1024
  while not is_known do
    local chunk = redis.call('XREVRANGE', log .. 'of:' .. field, place, '-', 'COUNT', 16)
    for _, entry in ipairs(chunk) do
      if entry[2][2] == item then return {name, tonumber(entry[1]:sub(3))} end
      is_known = tonumber(entry[2][4]) < tonumber(at) - 5000 -- as far as clocks differ
      place, left = '(' .. entry[1], left - 1
    end
    if #chunk == 0 then is_known = true end
    if left <= 0 then return 0 end
  end
end
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
