-- know: makes topics known, and that they have high lanes: all of it or, where there is no room for all topics, nothing.
-- Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; topics, `+` behind one that has a high lane
-- Answers the first topic for which there was no room, or nothing
local lanes, new, high = list(), {}, {}
for _, lane in ipairs(lanes) do
  local topic, mark = string.match(lane, '^([^+]*)(%+?)$')
  if not known(topic) and not new[topic] then
    new[topic] = true
    new[#new + 1] = topic
  end
  if mark == '+' then
    high[#high + 1] = topic
  end
end
table.sort(new)
local room = L.topics - call('HLEN', P .. K.topics)
if #new > room then
  return {new[math.max(room, 0) + 1]}
end
for _, topic in ipairs(new) do
  make_known(topic)
end
for _, topic in ipairs(high) do
  make_known(topic, true)
end
return {}
