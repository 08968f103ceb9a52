-- view: the live instances in the order in which they joined. Drops those whose lease ended, as a beat does.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; run id of the server
-- Answers {number, term, coordinator (instance/incarnation, or empty), {{card, JSON; started ms}...}}
local run = ARGV[#ARGV]
local known = call('HMGET', P .. K.view, 'run', 'amnesty')
local till = tonumber(known[2] or nil) or 0
if run ~= '' and known[1] and known[1] ~= run then
  -- The server restarted and nobody has beaten since: the next beat begins the amnesty.
  till = math.huge
end
local count, term, leader = establish(drop_expired(till))
local cards = {}
for _, instance in ipairs(call('ZRANGE', P .. K.joined, 0, -1)) do
  cards[#cards + 1] = {call('HGET', P .. K.cards, instance), call('HGET', P .. K.started, instance)}
end
return {count, term, leader, cards}
