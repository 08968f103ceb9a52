-- statistics: reads the counters of jobs, and which job waits for how long, at one moment. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel
-- Answers {now, counters (names and values by turns), places that have statistics, since when the job of all waits that
--   has been queued or blocked for longest (ms, or 0), {place, since when its oldest job waits, by turns}, schedules}
local first, found, waits = nil, {}, {}
for _, state in ipairs({'queued', 'blocked'}) do
  local entries = call('ZRANGE', P .. K.state .. state, 0, L.looked_at_waiting - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    local r, since = read(entries[i]), tonumber(entries[i + 1])
    first = math.min(first or since, since)
    if r and r.st == state then
      local place = place_of_job(r.tp, r.qu)
      waits[place] = math.min(waits[place] or since, since)
    end
  end
end
for place, since in pairs(waits) do
  found[#found + 1], found[#found + 2] = place, since
end
return {
  now, call('HGETALL', P .. K.counts), call('SMEMBERS', P .. K.counted), first or 0, found,
  call('ZCARD', P .. K.schedules),
}
