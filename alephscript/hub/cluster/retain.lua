-- Keep the last value of an event in a room, or forget it, and tell all hubs. A hub that gives back
-- what this Redis has lost says which position its value had; the later one counts. 0: the hub was
-- removed, -1: a later value is known.
local hub, generation, field, entry, forgets, position
hub, generation, field, entry, forgets, position, seal = unpack(ARGV)
by = hub
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local key = prefix .. ':retained'
local kept = redis.call('HGET', key, field)
position = tonumber(position)
if position > 0 and kept and (tonumber(kept:match('^%d+')) or 0) >= position then return -1 end
local source = redis.call('HGET', key, '')
if not source then
  source = hub .. ':' .. generation .. ':' .. redis.call('GET', prefix .. ':seq')
  redis.call('HSET', key, '', source)
end
local decision = {kind = 'value', field = field, entry = entry, source = source}
if position > 0 then decision.position = position end
local seq = notice(decision)
if forgets == '1' then
  redis.call('HDEL', key, field)
else
  redis.call('HSET', key, field, (position > 0 and string.format('%d', position) or seq) .. ' ' .. entry)
end
return seq
