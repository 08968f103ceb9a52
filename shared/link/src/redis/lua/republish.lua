-- republish: puts queued jobs back into the outbox whose copies the broker has lost, oldest first: those of the given
-- lanes of which no copy was confirmed for a while, longer each time; of a lane that holds some copies only as many as
-- there are more jobs queued than copies and outbox entries. Repeating it does no more than a relay's second publish.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; patience ms; number of the first queued job to look at, how many; count of lanes, per lane:
--       topic, site or nothing, most copies that the broker holds (-1: surely none)
-- Answers {jobs put back, number of the next job to look at (0: all were looked at)}
local patience, from, limit = number(), number(), number()
local outbox, allowed, queued = call('ZCARD', P .. K.outbox), {}, nil
-- By topic and site.
local at = {}

-- Queued jobs of a topic and a site, or of a topic and none, in whatever queue.
local function queued_of(topic, site)
  if not queued then
    queued = {}
    local placed = call('HGETALL', P .. K.queued_at)
    for i = 1, #placed, 2 do
      local of, count = string.match(placed[i], '^([^ ]+)'), tonumber(placed[i + 1])
      at[placed[i]] = count
      if of and count > 0 then
        queued[of] = (queued[of] or 0) - count
      end
    end
    local counts = call('HGETALL', P .. K.counts)
    for i = 1, #counts, 2 do
      local of = string.match(counts[i], '^queued ([^ ]+)')
      if of then
        queued[of] = (queued[of] or 0) + tonumber(counts[i + 1])
      end
    end
  end
  return site == '' and queued[topic] or at[topic .. ' ' .. site] or 0
end

for i = 1, number() do
  local topic, site, copies = arg(), arg(), number()
  allowed[topic .. ' ' .. site] = copies < 0 and math.huge or queued_of(topic, site) - copies - outbox
end

local function rest(times)
  if times == 0 then
    return patience
  end
  return math.max(patience, math.min(60000 * 2 ^ math.min(times - 1, 6), L.republish_ms))
end

local ids, jobs = call('ZRANGE', P .. K.state .. 'queued', from, from + limit - 1), 0
for _, id in ipairs(ids) do
  local r = read(id)
  local lane = r and r.tp .. ' ' .. (r.wh or '')
  if r and r.st == 'queued' and not r.ob and (allowed[lane] or 0) > 0
    and (r.pb or r.si) + rest(r.hi or 0) <= now then
    allowed[lane] = allowed[lane] - 1
    put(r, 'ob', now)
    put(r, 'hi', (r.hi or 0) + 1)
    save(r)
    jobs = jobs + 1
  end
end
flush()
return {jobs, #ids < limit and 0 or from + #ids}
