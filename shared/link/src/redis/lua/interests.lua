-- interests: what is listened to, and for how long it still is. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel
-- Answers interests and what is left, ms, by turns
local answers = {}
local known = call('HGETALL', P .. K.interests)
for i = 1, #known, 2 do
  local left = tonumber(known[i + 1]) - now
  if left > 0 then
    answers[#answers + 1], answers[#answers + 2] = known[i], left
  end
end
return answers
