-- queues: applies the queues of the fleet and their limits in one step, if nobody else did so since. What was there before
-- is kept. Repeating it after it was applied answers that it is another version now.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; version that must be there (0: none); who; text; prefix of queues' limits; count; per limit:
--       name, policy (JSON)
-- Answers {version, who, when, text} of what is there now
local after, by, text, prefix = number(), arg(), arg(), arg()
local known = call('GET', P .. K.queues)
local set = known and cjson.decode(known) or {version = 0}
if set.version == after then
  if known then
    call('LPUSH', P .. K.past_queues, known)
    call('LTRIM', P .. K.past_queues, 0, L.past_queues - 1)
  end
  set = {version = after + 1, by = by, at = now, text = text}
  call('SET', P .. K.queues, cjson.encode(set))
  local limits = {}
  for _ = 1, number() do
    local name = arg()
    limits[name] = arg()
  end
  for _, name in ipairs(call('HKEYS', P .. K.limits)) do
    if string.sub(name, 1, #prefix) == prefix and not limits[name] then
      call('HDEL', P .. K.limits, name)
      look_again(name)
    end
  end
  local uncounted = {}
  for name, policy in pairs(limits) do
    if counts(policy) and not counts(call('HGET', P .. K.limits, name)) then
      uncounted[name] = true
    end
  end
  count_running(uncounted)
  for name, policy in pairs(limits) do
    call('HSET', P .. K.limits, name, policy)
    look_again(name)
  end
  nudge('queues')
  flush()
end
return {set.version, set.by or '', set.at or 0, set.text or ''}
