-- leave: takes an incarnation out of the fleet at once. Nothing happens when it is not in, or another one is.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; instance; incarnation
-- Answers 1 when it was in, else 0
local instance, incarnation = arg(), arg()
if call('HGET', P .. K.incarnations, instance) ~= incarnation then
  return 0
end
drop(instance)
establish(true)
return 1
