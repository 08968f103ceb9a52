-- forget: lets go of lanes of sites in which no job is queued and which nobody has used for a while. Repeating it changes
-- nothing more.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; idle ms; count; lanes, as know has them
-- Answers those that are let go of
local idle, gone = number(), {}
for _, lane in ipairs(list()) do
  local seen = site_seen(lane)
  local topic, site = string.match(lane, '^([^+ ]*)%+? (.*)$')
  local place = topic and topic .. ' ' .. site
  if seen and place and seen + idle <= now
    and (tonumber(call('HGET', P .. K.queued_at, place) or nil) or 0) <= 0 then
    call('HDEL', P .. K.sites, lane)
    call('HDEL', P .. K.queued_at, place)
    gone[#gone + 1] = lane
  end
end
if #gone > 0 then
  call('HINCRBY', P .. K.shard, 'lanes', 1)
  nudge('topics')
end
return gone
