-- What every script begins with. KEYS[1] is the prefix of all keys and channels of a mesh.
--
-- Keys: PREFIX:seq (number of the last decision), PREFIX:rooms (by room: its epoch and masters),
-- PREFIX:hubs (names of all hubs), PREFIX:hub:HUB (its generation; expires with its lease),
-- PREFIX:claims:HUB (rooms that masters of the hub may be in).
local prefix = KEYS[1]
local function notice(decision)
  decision.seq = redis.call('INCR', prefix .. ':seq')
  redis.call('PUBLISH', prefix .. ':notices', cjson.encode(decision))
  return decision.seq
end
local function load(field)
  local text = redis.call('HGET', prefix .. ':rooms', field)
  if text then return cjson.decode(text) end
  return {epoch = 0, masters = {}}
end
local function serving(masters)
  local names = {}
  for i, master in ipairs(masters) do
    if i == 1 or masters[1][3] == 'shared' then names[#names + 1] = master[2] end
  end
  return table.concat(names, ' ')
end
local function store(field, masters, before, floor)
  local epoch = before.epoch
  if serving(masters) ~= serving(before.masters) then epoch = math.max(epoch, floor) + 1 end
  local record = {epoch = epoch, masters = masters}
  if #masters == 0 then
    redis.call('HDEL', prefix .. ':rooms', field)
  else
    redis.call('HSET', prefix .. ':rooms', field, cjson.encode(record))
  end
  return {notice({kind = 'room', field = field, record = record}), epoch}
end
local function without(masters, gone)
  local kept = {}
  for _, master in ipairs(masters) do
    if not gone(master) then kept[#kept + 1] = master end
  end
  return kept
end
local function remove_hub(hub)
  for _, field in ipairs(redis.call('SMEMBERS', prefix .. ':claims:' .. hub)) do
    local before = load(field)
    local masters = without(before.masters, function(master) return master[1] == hub end)
    if #masters < #before.masters then store(field, masters, before, 0) end
  end
  redis.call('DEL', prefix .. ':claims:' .. hub, prefix .. ':hub:' .. hub)
  if redis.call('SREM', prefix .. ':hubs', hub) == 1 then notice({kind = 'gone', hub = hub}) end
end
