-- know: makes topics known, and that they have lanes beside the first one: all of it or, where there is no room for all
-- topics, nothing; of lanes of sites as many as there is room for. Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; lanes: topics, `+` behind one of a high lane, and a space and the site of one that has
--       a site
-- Answers the first topic for which there was no room, or nothing
local lanes, new, beside = list(), {}, {}
for _, lane in ipairs(lanes) do
  local topic, mark, site = string.match(lane, '^([^+ ]*)(%+?) ?(.*)$')
  if not known(topic) and not new[topic] then
    new[topic] = true
    new[#new + 1] = topic
  end
  if mark == '+' or site ~= '' then
    beside[#beside + 1] = {topic = topic, high = mark == '+', site = site ~= '' and site or nil, lane = lane}
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
for _, lane in ipairs(beside) do
  if not lane.site or has_room(lane.lane) then
    make_known(lane.topic, lane.high, lane.site)
  end
end
return {}
