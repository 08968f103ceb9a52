-- reset_statistics: begins to count anew what happens in some places. Counters of jobs stay. Repeating it resets again.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; places (count first)
-- Answers how many there were
local places, reset = list(), 0
for _, place in ipairs(places) do
  if call('SISMEMBER', P .. K.counted, place) == 1 then
    local key = P .. K.statistics .. place
    call('DEL', key)
    call('BITFIELD', key, 'SET', 'i64', '#' .. L.slot_calls, 1, 'SET', 'i64', '#' .. L.slot_since, digits(now))
    reset = reset + 1
  end
end
return reset
