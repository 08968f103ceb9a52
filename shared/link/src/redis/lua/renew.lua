-- renew (T7): renews the leases of the attempts that hold their fence, notices outages of the store (see `amnesty`
-- in common.lua), and tells how many leases of anybody have ended.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; who (instance/incarnation); two beats, ms; lease ms;
--       count; per attempt: id, fence; at the end the run id of the server
-- Answers {now, expired, amnesty, {{index of a lost attempt, from 0}...}, {{index, who asked to stop}...}}
local HOUR_MS = 3600000
local owner, gap, lease_ms = arg(), number(), number()
local mine = tonumber(call('ZSCORE', P .. K.renewed, owner) or nil) or 0
local till = amnesty(P .. K.shard, ARGV[#ARGV], lease_ms, gap, mine)
call('ZADD', P .. K.renewed, digits(now), owner)
call('ZREMRANGEBYSCORE', P .. K.renewed, '-inf', digits(now - HOUR_MS))
local lost, stop = {}, {}
for i = 1, number() do
  local id, fence = arg(), number()
  local r = read(id)
  if r and r.st == 'active' and r.fe == fence then
    put(r, 'le', now + lease_ms)
    save(r)
    index(K.state .. 'active', r.le, id)
    if r.cn then
      stop[#stop + 1] = {i - 1, string.sub(r.cn, 2)}
    end
  else
    lost[#lost + 1] = i - 1
  end
end
flush()
local gone = 0
if till == 0 then
  gone = call('ZCOUNT', P .. K.state .. 'active', '-inf', digits(now))
end
return {now, gone, till, lost, stop}
