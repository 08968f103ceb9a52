-- pause: pauses a queue, a topic or a key, or ends a pause. What is queued already waits when it is claimed, what runs
-- goes on. Repeating it changes nothing but its time.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; what; 1 to pause, 0 to go on; with 1: who, why, until when (ms, or 0: until somebody ends it)
-- Answers {ok, whether it was paused before} | {full}: there are as many pauses as there may be
local what, on = arg(), number() == 1
local gate = 'p:' .. what
local before = call('HEXISTS', P .. K.pauses, what)
if not on then
  call('HDEL', P .. K.pauses, what)
  wake_at(gate, now)
else
  if before == 0 and call('HLEN', P .. K.pauses) >= L.pauses then
    return {'full'}
  end
  local pause = {by = arg(), why = arg(), since = now}
  local till = number()
  if till > 0 then
    pause['until'] = till
    wake_at(gate, till)
  end
  call('HSET', P .. K.pauses, what, cjson.encode(pause))
end
flush()
return {'ok', before}
