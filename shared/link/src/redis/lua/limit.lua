-- limit: sets a named limit, changes it, or takes it away. What passed already stays; who waits is looked at again.
-- Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; name; policy (JSON, or empty: take it away)
-- Answers {ok} | {full}: there are as many limits as there may be
local name, policy = arg(), arg()
if policy == '' then
  call('HDEL', P .. K.limits, name)
elseif call('HEXISTS', P .. K.limits, name) == 0 and call('HLEN', P .. K.limits) >= L.limits then
  return {'full'}
else
  call('HSET', P .. K.limits, name, policy)
end
-- A semicolon is what follows a colon.
for _, gate in ipairs(call('ZRANGEBYLEX', P .. K.gates, '[l:' .. name .. ':', '(l:' .. name .. ';')) do
  wake_at(gate, now)
end
flush()
return {'ok'}
