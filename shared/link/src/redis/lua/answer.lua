-- answer: an incarnation answers a question that it took up, once. Whoever asked is told.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; id of the question; instance/incarnation; what it says (JSON)
-- Answers 1 when it is kept, also from before, else 0: nobody waits for it
local id, owner, said = arg(), arg(), arg()
local key = P .. K.question .. id
local found = call('HMGET', key, owner, 'closed', 'reply')
local state = string.sub(found[1] or '', 1, 1)
if state == 's' then
  return 1
elseif state ~= 'b' or found[2] then
  return 0
end
call('HSET', key, owner, 's' .. said)
call('PUBLISH', found[3], '?' .. id)
return 1
