-- bury: ends the leases of dead incarnations at once: those of this instance other than the one alive. The last
-- renewals of those that have jobs are forgotten, since they are silent for good. The jobs then wait for a rescue.
-- Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; instance; the incarnation that is alive
-- Answers how many leases it ended
local instance, alive = arg(), arg()
local buried = 0
-- All running attempts of the fleet are at most its slots.
for _, id in ipairs(call('ZRANGE', P .. K.state .. 'active', 0, -1)) do
  local r = read(id)
  if r and r.st == 'active' and r.oi == instance and r.oc ~= alive then
    call('ZREM', P .. K.renewed, r.oi .. '/' .. (r.oc or ''))
    if r.le > now then
      put(r, 'le', now)
      save(r)
      index(K.state .. 'active', now, id)
      buried = buried + 1
    end
  end
end
flush()
return buried
