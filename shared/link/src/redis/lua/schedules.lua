-- schedules: reads schedules at one moment, by name or a page of all in the order of their names. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; `named`, then a name; or `page`, then `-` or `(` and the name before, limit, most bytes
-- Answers {now, {per schedule: {ok, name, revision, definition, open} or {damaged, name, detail}}, more}
local names, limit, most
if arg() == 'named' then
  names, limit, most = {arg()}, 1, math.huge
else
  local from = arg()
  limit, most = number(), number()
  names = call('ZRANGEBYLEX', P .. K.schedules, from, '+', 'LIMIT', 0, limit + 1)
end
local found, more = read_some(names, limit, most)
return {now, found, more}
