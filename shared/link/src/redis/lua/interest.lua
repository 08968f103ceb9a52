-- interest: somebody listens to events, for a time; a longer time that somebody else gave stays. What is over is forgotten.
-- Everybody is nudged. Repeating it changes nothing but the time.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; for how long, ms; interests (count first)
-- Answers {ok} | {full}: as many are listened to as may be
local ms, interests, left = number(), list(), 0
local known = call('HGETALL', P .. K.interests)
local ends = {}
for i = 1, #known, 2 do
  if tonumber(known[i + 1]) <= now then
    call('HDEL', P .. K.interests, known[i])
  else
    ends[known[i]], left = tonumber(known[i + 1]), left + 1
  end
end
for _, interest in ipairs(interests) do
  if not ends[interest] then
    if left >= L.interests then
      return {'full'}
    end
    left = left + 1
  end
  call('HSET', P .. K.interests, interest, digits(math.max(ends[interest] or 0, now + ms)))
end
nudge('interests')
return {'ok'}
