-- ask: asks incarnations something. Repeating it changes nothing; those that it names for the first time are added.
-- Everybody is nudged.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; id of the question; question (JSON); for how long, ms; channel of who asks; incarnations
--       (instance/incarnation, count first)
-- Answers {ok} | {over}: its time has passed, or nobody waits for it | {full}: as many are open as may be
local id, question, ms, reply, of = arg(), arg(), number(), arg(), list()
local key = P .. K.question .. id
local known = call('HMGET', key, 'until', 'closed')
call('ZREMRANGEBYSCORE', P .. K.questions, '-inf', digits(now))
if not known[1] then
  if call('ZCARD', P .. K.questions) >= L.questions then
    return {'full'}
  end
  call('HSET', key, 'q', question, 'until', digits(now + ms), 'reply', reply)
  call('PEXPIRE', key, digits(ms + L.question_kept_ms))
  call('ZADD', P .. K.questions, digits(now + ms), id)
elseif known[2] or tonumber(known[1]) <= now then
  return {'over'}
end
for _, owner in ipairs(of) do
  call('HSETNX', key, owner, 'w')
end
-- A time, so that a store that lost everything does not count to the same number again.
local before = tonumber(call('HGET', P .. K.view, 'questions') or nil) or 0
call('HSET', P .. K.view, 'questions', digits(math.max(now_us, before + 1)))
nudge('questions')
return {'ok'}
