-- beat: an instance proves that it is alive. Refreshes its card, drops members whose lease ended (nobody for one
-- lease after an outage of the store), and numbers the view anew when the set of incarnations or the coordinator
-- changed. A newer incarnation of an instance takes the older one's place and queues last; the older one is told.
-- Forgets instances that have not beaten for long, with their rows of the matrix.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; instance; incarnation; card (JSON); digest of its profile; when it started, ms (0: now);
--       lease ms; number of the view that it has reached; its preference as a leader; run id of the server
-- Answers {now, view number, term, coordinator: 0 or 1, superseded: 0 or 1, revision of the matrix, number of profiles,
--   whether all members have reached the view: 0 or 1, number of the last question}
local instance, incarnation, card, profile = arg(), arg(), arg(), arg()
local started, lease_ms, reached, preference, run = number(), number(), number(), number(), ARGV[#ARGV]
local current = call('HGET', P .. K.incarnations, instance)
local till_when = tonumber(call('ZSCORE', P .. K.members, instance) or nil)
if current and till_when and till_when > now and current > incarnation then
  -- Incarnations are made of time: the greater one is the newer one.
  local count, term = establish(false)
  return {now, count, term, 0, 1, 0, 0, 0, 0}
end
local again = current == incarnation and till_when
local mine = again and till_when - lease_ms or 0
-- Half a lease is longer than two beats of every sensible setting.
local till = amnesty(P .. K.view, run, lease_ms, lease_ms / 2, mine)
local changed = false
if not again then
  call('HSET', P .. K.incarnations, instance, incarnation)
  call('HSET', P .. K.started, instance, digits(started > 0 and started or now))
  if preference ~= 0 then
    call('HSET', P .. K.preferences, instance, digits(preference))
  else
    call('HDEL', P .. K.preferences, instance)
  end
  call('ZADD', P .. K.joined, call('HINCRBY', P .. K.view, 'joins', 1), instance)
  changed = true
end
call('ZADD', P .. K.members, digits(now + lease_ms), instance)
call('HSET', P .. K.cards, instance, card)
-- Its own lease is renewed first: a late beat that nobody noticed changes nothing.
if drop_expired(till) then
  changed = true
end
if call('HGET', P .. K.profiles, instance) ~= profile then
  call('HSET', P .. K.profiles, instance, profile)
  call('HINCRBY', P .. K.view, 'profiles', 1)
  nudge('view')
end
local count, term, leader = establish(changed)
if reached == count and call('SADD', P .. K.reached, instance) == 1
  and call('SCARD', P .. K.reached) == call('ZCARD', P .. K.members) then
  nudge('view')
end
call('ZADD', P .. K.seen, digits(now), instance)
local old = digits(now - L.instance_kept_ms)
for _, gone in ipairs(call('ZRANGEBYSCORE', P .. K.seen, '-inf', old, 'LIMIT', 0, L.instances_forgotten)) do
  call('ZREM', P .. K.seen, gone)
  if not call('ZSCORE', P .. K.members, gone) then
    call('HDEL', P .. K.matrix, gone)
  end
end
local versions = call('HMGET', P .. K.view, 'matrix', 'profiles', 'questions')
return {
  now, count, term, leader == instance .. '/' .. incarnation and 1 or 0, 0,
  versions[1] or '0', versions[2] or '0', call('SCARD', P .. K.reached) == call('ZCARD', P .. K.members) and 1 or 0,
  versions[3] or '0',
}
