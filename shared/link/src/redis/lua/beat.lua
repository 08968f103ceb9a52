-- beat: an instance proves that it is alive. Refreshes its card, drops members whose lease ended (nobody for one
-- lease after an outage of the store), and numbers the view anew when the set of incarnations or the coordinator
-- changed. A newer incarnation of an instance takes the older one's place and queues last; the older one is told.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; instance; incarnation; card (JSON); when it started, ms (0: now); lease ms; run id of the
--       server
-- Answers {now, view number, term, coordinator: 0 or 1, superseded: 0 or 1}
local instance, incarnation, card, started, lease_ms, run = arg(), arg(), arg(), number(), number(), ARGV[#ARGV]
local current = call('HGET', P .. K.incarnations, instance)
local till_when = tonumber(call('ZSCORE', P .. K.members, instance) or nil)
if current and till_when and till_when > now and current > incarnation then
  -- Incarnations are made of time: the greater one is the newer one.
  local count, term = establish(false)
  return {now, count, term, 0, 1}
end
local again = current == incarnation and till_when
local mine = again and till_when - lease_ms or 0
-- Half a lease is longer than two beats of every sensible setting.
local till = amnesty(P .. K.view, run, lease_ms, lease_ms / 2, mine)
local changed = false
if not again then
  call('HSET', P .. K.incarnations, instance, incarnation)
  call('HSET', P .. K.started, instance, digits(started > 0 and started or now))
  call('ZADD', P .. K.joined, call('HINCRBY', P .. K.view, 'joins', 1), instance)
  changed = true
end
call('ZADD', P .. K.members, digits(now + lease_ms), instance)
call('HSET', P .. K.cards, instance, card)
-- Its own lease is renewed first: a late beat that nobody noticed changes nothing.
if drop_expired(till) then
  changed = true
end
local count, term, leader = establish(changed)
return {now, count, term, leader == instance .. '/' .. incarnation and 1 or 0, 0}
