-- A page of the log of a room: {name, last, gone, first, begin, entries}; see `redis_log`.
local prefix = KEYS[1]
local field, name, after, at, before, most, bytes = unpack(ARGV)
local log = prefix .. ':log:'
redis.call('SET', log .. 'name', name, 'NX')
name = redis.call('GET', log .. 'name')
local key = log .. 'of:' .. field
local last = tonumber(redis.call('HGET', log .. 'last', field) or 0)
local gone = redis.call('HGET', log .. 'gone', field) or '-1'
local function id(number) return '0-' .. string.format('%d', number) end
local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
local first = oldest and tonumber(oldest[1]:sub(3)) or last + 1
local begin = last
if after ~= '' then begin = tonumber(after) end
if at ~= '' then -- by halves: the first entry that was said then, or later
  local low, high = first, last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = redis.call('XRANGE', key, id(middle), '+', 'COUNT', 1)[1]
    if not entry or tonumber(entry[2][4]) >= tonumber(at) then high = middle
    else low = middle + 1 end
  end
  begin = low - 1
end
local entries, size, left = {}, 0, tonumber(most)
local place = before ~= '' and tonumber(before) - 1 or begin + 1
while left > 0 and place >= 0 do
  local chunk
  if before ~= '' then chunk = redis.call('XREVRANGE', key, id(place), '-', 'COUNT', math.min(left, 16))
  else chunk = redis.call('XRANGE', key, id(place), '+', 'COUNT', math.min(left, 16)) end
  if #chunk == 0 then break end
  for _, entry in ipairs(chunk) do
    local number, fields = tonumber(entry[1]:sub(3)), entry[2]
    size, left = size + #fields[2], left - 1
    if #entries > 0 and size > tonumber(bytes) then left = 0; break end
    entries[#entries + 1] = {number, fields[2], tonumber(fields[4]), tonumber(fields[6])}
    place = before ~= '' and number - 1 or number + 1
  end
end
return {name, last, tonumber(gone), first, begin, entries}
