-- What every script begins with. KEYS[1] is the prefix of all keys and channels of a mesh.
--
-- Keys: PREFIX:seq (number of the last decision), PREFIX:rooms (by room: its epoch and masters),
-- PREFIX:hubs (names of all hubs), PREFIX:hub:HUB (its generation; expires with its lease),
-- PREFIX:claims:HUB (rooms that masters of the hub may be in), PREFIX:retained (by room and event:
-- position and last value; by the empty field: a name of the data, another one after some were lost),
-- PREFIX:seals (by hub: the signature that it came with, where hubs have a key).
local prefix = KEYS[1]
-- In a Redis Cluster all keys are in the slot of the prefix, and so are the channels of hubs and notices.
local is_sharded = prefix:sub(1, 1) == '{'
-- The hub that has this decided, and its signature, where hubs have a key; the hub that is being removed.
local by, seal, removed
local function notice(decision)
  if seal ~= '' then decision.by, decision.seal, decision.gone = by, seal, removed end
  decision.seq = redis.call('INCR', prefix .. ':seq')
  redis.call(is_sharded and 'SPUBLISH' or 'PUBLISH', prefix .. ':notices', cjson.encode(decision))
  return decision.seq
end
local function is_record(record)
  if type(record) ~= 'table' or type(record.masters) ~= 'table' then return false end
  for _, master in ipairs(record.masters) do
    if type(master) ~= 'table' then return false end
    for i = 1, 4 do if type(master[i]) ~= 'string' then return false end end
  end
  return type(record.epoch) == 'number'
end
local function load(field)
  local text = redis.call('HGET', prefix .. ':rooms', field)
  if text then
    local is_json, record = pcall(cjson.decode, text)
    if is_json and is_record(record) then return record, text end
  end
  return {epoch = 0, masters = {}} -- also for what no hub can have written
end
-- Where those begin that master a room: the last ones that share a group. Others are displaced.
local function first_acting(masters)
  local first = math.max(#masters, 1)
  while first > 1 and masters[first][3] ~= 'single'
    and masters[first - 1][3] == masters[first][3] do
    first = first - 1
  end
  return first
end
local function serving(masters)
  local names, first = {}, first_acting(masters)
  for i = first, #masters do
    if i == first or masters[first][3] == 'shared' then names[#names + 1] = masters[i][2] end
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
  local left = {}
  for _, master in ipairs(masters) do left[master[1]] = true end
  for _, master in ipairs(before.masters) do
    if not left[master[1]] then redis.call('SREM', prefix .. ':claims:' .. master[1], field) end
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
  removed = hub
  for _, field in ipairs(redis.call('SMEMBERS', prefix .. ':claims:' .. hub)) do
    local before = load(field)
    local masters = without(before.masters, function(master) return master[1] == hub end)
    if #masters < #before.masters then store(field, masters, before, 0) end
  end
  redis.call('DEL', prefix .. ':claims:' .. hub, prefix .. ':hub:' .. hub)
  redis.call('HDEL', prefix .. ':seals', hub)
  if redis.call('SREM', prefix .. ':hubs', hub) == 1 then notice({kind = 'gone', hub = hub}) end
  removed = nil
end
local function is_heard(hub)
  local count = is_sharded and 'SHARDNUMSUB' or 'NUMSUB'
  return tonumber(redis.call('PUBSUB', count, prefix .. ':to:' .. hub)[2]) > 0
end
local function is_silent(hub)
  return not is_heard(hub) or redis.call('EXISTS', prefix .. ':hub:' .. hub) == 0
end
