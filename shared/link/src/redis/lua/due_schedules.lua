-- due_schedules: reads the schedules whose time has come, earliest first.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; most bytes to hand out
-- Answers {now, {as `schedules`}, when the next one that is not due yet is due (ms, or -1), more}
local limit, most = number(), number()
local names = call('ZRANGEBYSCORE', P .. K.schedules_due, '-inf', digits(now), 'LIMIT', 0, limit + 1)
local found, bytes, more = {}, 0, 0
for i, name in ipairs(names) do
  if i > limit or bytes >= most then
    more = 1
    break
  end
  local z, damage = read_schedule(name)
  if z then
    found[#found + 1] = shown(z)
    bytes = bytes + #z.def
  else
    shelve(K.schedules_due, name, damage)
    found[#found + 1] = damage and {'damaged', name, damage} or nil
  end
end
local later = call('ZRANGEBYSCORE', P .. K.schedules_due, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {now, found, tonumber(later[2] or -1), more}
