-- Remove another hub, if its lease has run out or nobody can send to it. 0: this hub was removed.
local generation, other
by, generation, other, seal = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. by) ~= generation then return 0 end
if is_silent(other) then remove_hub(other) end
return 1
