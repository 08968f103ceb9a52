-- file_place: the place of payload files that the fleet agreed on; with an id, that one is agreed on if there is none yet,
-- or in any case. Repeating it changes nothing but the time.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; id or nothing; 1 to replace the one that there is
-- Answers {id, since when (ms), now (ms)}, or {} where there is none
local id, replace = arg(), number() == 1
local known = call('HMGET', P .. K.file_place, 'id', 'since')
if id ~= '' and known[1] ~= id and (replace or not known[1]) then
  call('HSET', P .. K.file_place, 'id', id, 'since', digits(now))
  known = {id, digits(now)}
end
if not known[1] then
  return {}
end
return {known[1], known[2], digits(now)}
