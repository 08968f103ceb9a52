-- bury: ends the leases of dead incarnations at once: those of this instance other than the one alive, whose last
-- renewals are forgotten, since they are silent for good. The jobs then wait for a rescue. Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; instance; the incarnation that is alive
-- Answers how many leases it ended
local instance, alive = arg(), arg()
local buried = 0
-- All running attempts of the fleet are at most its slots.
for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.state .. 'active', '(' .. digits(now), '+inf')) do
  local r = read(id)
  if r and r.st == 'active' and r.oi == instance and r.oc ~= alive then
    put(r, 'le', now)
    save(r)
    index(K.state .. 'active', now, id)
    call('ZREM', P .. K.renewed, r.oi .. '/' .. (r.oc or ''))
    buried = buried + 1
  end
end
flush()
return buried
