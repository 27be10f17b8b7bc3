-- All that is decided: number of the last decision, rooms, hubs, retained values.
return {
  tonumber(redis.call('GET', prefix .. ':seq') or '0'),
  redis.call('HGETALL', prefix .. ':rooms'),
  redis.call('SMEMBERS', prefix .. ':hubs'),
  redis.call('HGETALL', prefix .. ':retained'),
  redis.call('HGETALL', prefix .. ':seals'),
}
