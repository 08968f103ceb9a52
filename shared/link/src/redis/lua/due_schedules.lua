-- due_schedules: reads the schedules whose time has come, earliest first.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; most bytes to hand out
-- Answers {now, {as `schedules`}, when the next one that is not due yet is due (ms, or -1), more}
local limit, most = number(), number()
local names = call('ZRANGEBYSCORE', P .. K.schedules_due, '-inf', digits(now), 'LIMIT', 0, limit + 1)
local found, more = read_some(names, limit, most, function(name, damage)
  shelve(K.schedules_due, name, damage)
end)
local later = call('ZRANGEBYSCORE', P .. K.schedules_due, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {now, found, tonumber(later[2] or -1), more}
