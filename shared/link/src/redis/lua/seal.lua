-- seal: what an instance has to be able to open to belong to the fleet; exchanged if it is as the caller read it. Repeating
-- it after it was done changes nothing. Nothing here understands what it says.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; 1 to exchange it; what has to be there; what is to be there. Nothing is no seal
-- Answers what is there now
local exchange, before, after = number() == 1, arg(), arg()
local seal = call('HGET', P .. K.view, 'seal') or ''
if exchange and seal == before and seal ~= after then
  if after == '' then
    call('HDEL', P .. K.view, 'seal')
  else
    call('HSET', P .. K.view, 'seal', after)
  end
  seal = after
  nudge('seal')
end
return seal
