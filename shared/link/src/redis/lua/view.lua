-- view: the live instances in the order in which they joined. Drops those whose lease ended, as a beat does.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; run id of the server
-- Answers {number, term, coordinator (instance/incarnation, or empty), {{card, JSON; started ms}...}}
local count, term, leader = establish(drop_expired(spared_till(ARGV[#ARGV])))
local cards = {}
for _, instance in ipairs(call('ZRANGE', P .. K.joined, 0, -1)) do
  cards[#cards + 1] = {call('HGET', P .. K.cards, instance), call('HGET', P .. K.started, instance)}
end
return {count, term, leader, cards}
