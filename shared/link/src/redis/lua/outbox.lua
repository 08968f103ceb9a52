-- outbox: hands out jobs whose publish is not confirmed and whose time has come, and keeps them from other relays
-- for a while. They leave the outbox through `published` only.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; hold ms; most bytes to hand out
-- Answers {outgoing...}
local limit, hold_ms, most = number(), number(), number()
local out, bytes = {}, 0
for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.outbox, '-inf', digits(now), 'LIMIT', 0, limit)) do
  if bytes >= most then
    break
  end
  local r, damage = read(id)
  if not r or not r.ob then
    shelve(K.outbox, id, damage)
  else
    put(r, 'ob', now + hold_ms)
    save(r)
    local size
    out[#out + 1], size = outgoing(r)
    bytes = bytes + size
  end
end
flush()
return out
