-- limit: sets a named limit, changes it, or takes it away. What passed already stays, and what runs is counted; who waits
-- is looked at again. Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; name; policy (JSON, or empty: take it away)
-- Answers {ok} | {full}: there are as many limits as there may be
local name, policy = arg(), arg()
if policy == '' then
  call('HDEL', P .. K.limits, name)
elseif call('HEXISTS', P .. K.limits, name) == 0 and call('HLEN', P .. K.limits) >= L.limits then
  return {'full'}
else
  if counts(policy) and not counts(call('HGET', P .. K.limits, name)) then
    count_running({[name] = true})
  end
  call('HSET', P .. K.limits, name, policy)
end
look_again(name)
flush()
return {'ok'}
