-- renew (T7): renews the leases of the attempts that hold their fence, notices outages of the store (see `amnesty`
-- in common.lua) and what the store may have lost (loss.lua), and tells how many leases of anybody have ended.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; who (instance/incarnation); two beats, ms; lease ms;
--       epoch and tick that the process knows, and how many jobs were scheduled, retrying, queued, active and blocked
--       then (zeros: it knows nothing); count; per attempt: id, fence; at the end the run id of the server
-- Answers {now, expired, amnesty, {{index of a lost attempt, from 0}...}, {{index, who asked to stop}...},
--   {index of an attempt that the store knows nothing or only older things of...},
--   {epoch, tick, scheduled, retrying, queued, active, blocked, how the epoch began}}
local HOUR_MS = 3600000
local owner, gap, lease_ms = arg(), number(), number()
local seen = {
  epoch = number(), tick = number(), scheduled = number(), retrying = number(), queued = number(), active = number(),
  blocked = number(),
}
local epoch, tick, began = renewed(ARGV[#ARGV], seen, lease_ms)
local mine = tonumber(call('ZSCORE', P .. K.renewed, owner) or nil) or 0
local till = amnesty(P .. K.shard, ARGV[#ARGV], lease_ms, gap, mine)
call('ZADD', P .. K.renewed, digits(now), owner)
call('ZREMRANGEBYSCORE', P .. K.renewed, '-inf', digits(now - HOUR_MS))
local lost, stop, behind = {}, {}, {}
for i = 1, number() do
  local id, fence = arg(), number()
  local r, damage = read(id)
  if r and r.st == 'active' and r.fe == fence then
    put(r, 'le', now + lease_ms)
    save(r)
    index(K.state .. 'active', r.le, id)
    if r.cn then
      stop[#stop + 1] = {i - 1, string.sub(r.cn, 2)}
    end
  elseif r and r.fe < fence and not TERMINAL[r.st] or not r and not damage and not entombed(id) then
    behind[#behind + 1] = i - 1
  else
    lost[#lost + 1] = i - 1
  end
end
flush()
local function size(state)
  return call('ZCARD', P .. K.state .. state)
end
local gone = 0
if till == 0 then
  gone = call('ZCOUNT', P .. K.state .. 'active', '-inf', digits(now))
end
return {
  now, gone, till, lost, stop, behind,
  {digits(epoch), digits(tick), size('scheduled'), size('retrying'), size('queued'), size('active'),
    size('blocked'), began},
}
