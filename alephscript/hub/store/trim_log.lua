-- Drop what was said in a room before a time, as many entries at once as nobody has to wait for.
-- Whether there may be more.
local prefix = KEYS[1]
local field, since, most = unpack(ARGV)
local log = prefix .. ':log:'
local key, freed, last, newest, count = log .. 'of:' .. field, 0, nil, nil, 0
for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', most)) do
  if tonumber(entry[2][4]) >= tonumber(since) then break end
  freed, last, newest, count = freed + tonumber(entry[2][8]), entry[1], entry[2][4], count + 1
end
if not last then return 0 end
redis.call('XTRIM', key, 'MINID', '=', '0-' .. string.format('%d', tonumber(last:sub(3)) + 1))
redis.call('HSET', log .. 'gone', field, newest)
redis.call('ZINCRBY', log .. 'sizes', -freed, field)
redis.call('DECRBY', log .. 'total', freed)
return count == tonumber(most) and 1 or 0
