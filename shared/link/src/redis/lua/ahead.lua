-- ahead: counts queued jobs of the same topic and site that entered `queued` before a job, of an urgent one the urgent ones alone,
-- in one stretch of the index. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; id; rank at which the stretch begins; its length
-- Answers {found: 0 or 1, count in this stretch, whether another stretch follows: 0 or 1}
local id, from, length = arg(), number(), number()
local r = read(id)
local rank = r and r.st == 'queued' and call('ZRANK', P .. K.state .. 'queued', id)
if not rank then
  return {0, 0, 0}
end
local ahead, to = 0, math.min(rank, from + length) - 1
if to >= from then
  for _, other in ipairs(call('ZRANGE', P .. K.state .. 'queued', from, to)) do
    local record = read(other)
    if record and record.tp == r.tp and record.wh == r.wh and (r.pr ~= 1 or record.pr == 1) then
      ahead = ahead + 1
    end
  end
end
return {1, ahead, to + 1 < rank and 1 or 0}
