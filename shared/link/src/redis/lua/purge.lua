-- purge (T19, T20): drops queued and scheduled jobs that were not started in time, and replaces history that was
-- kept long enough by tombstones.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; keep of succeeded jobs, ms; keep of others, ms; limit of each kind
-- Answers how many jobs were dropped or purged
local keep_succeeded, keep_failed, limit = number(), number(), number()
local went, dropped = 0, {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.expiry, '-inf', digits(now), 'LIMIT', 0, limit)) do
  local r, damage = read(id)
  if not r or not expirable(r.st) or not expired(r) then
    shelve(K.expiry, id, damage)
  else
    finish_with(r, 'dropped', 'expired')
    save(r)
    dropped[id] = true
    went = went + 1
  end
end
flush()
local left = limit
for state in pairs(TERMINAL) do
  local old = now - (state == 'succeeded' and keep_succeeded or keep_failed)
  if left > 0 and old > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.state .. state, '-inf', digits(old), 'LIMIT', 0, left)) do
      local r, damage = read(id)
      if not r or r.st ~= state then
        shelve(K.state .. state, id, damage)
      elseif not dropped[id] then
        -- What expired a moment ago is history that begins now.
        purge(r)
        went, left = went + 1, left - 1
      end
    end
  end
end
flush()
return went
