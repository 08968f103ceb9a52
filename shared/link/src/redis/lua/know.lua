-- know: makes topics known, all of them or, where there is no room for all, none. Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; topics
-- Answers the first topic for which there was no room, or nothing
local topics, new = list(), {}
for _, topic in ipairs(topics) do
  if not known(topic) and not new[topic] then
    new[topic] = true
    new[#new + 1] = topic
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
return {}
