-- find: lists jobs of one phase of life, from a position on: unfinished ones by the time of acceptance, oldest
-- first; ended ones by the time of their end, newest first. Reads the narrowest index and at most `budget` of its
-- entries; writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; `open` or `ended`; states (count first); topics (count first; none: any); queue (or
--       empty); labels as name=value (count first); since ms; position: score (or empty), id; how many; budget
-- Answers {{id, score}..., position where the next call goes on: score, id; both empty at the end}
local phase, states, topics, queue, labels = arg(), list(), list(), arg(), list()
local since, after_score, after_id, want, budget = number(), arg(), arg(), number(), number()
local SMALL, CHUNK = 1000, 200
local forward = phase == 'open'

local wanted, any_topic = {}, #topics == 0
for _, state in ipairs(states) do
  wanted[state] = true
end
local topic_set = {}
for _, topic in ipairs(topics) do
  topic_set[topic] = true
end

-- The entry's position when the job matches, else nil.
local function matches(id)
  local r = read(id)
  if not r or not wanted[r.st] then
    return nil
  end
  if not any_topic and not topic_set[r.tp] then
    return nil
  end
  local created, entered = r.ct, r.si
  if created < since or (queue ~= '' and r.qu ~= queue) then
    return nil
  end
  for _, label in ipairs(labels) do
    if not call('ZSCORE', P .. K.label .. label, id) then
      return nil
    end
  end
  return forward and created or entered
end

-- Whether position a comes before position b.
local function before(a, b)
  if a.score ~= b.score then
    return (a.score < b.score) == forward
  end
  return a.id ~= b.id and (a.id < b.id) == forward
end

local after = after_score ~= '' and {score = tonumber(after_score), id = after_id} or nil
local found = {}

local function page(position)
  return {found, position and digits(position.score) or '', position and position.id or ''}
end

-- Indexes that restrict by something other than the state, narrowest first.
local narrow = {}
if queue ~= '' then
  narrow[#narrow + 1] = P .. K.queue .. queue
end
if #topics == 1 then
  narrow[#narrow + 1] = P .. K.topic .. topics[1]
end
for _, label in ipairs(labels) do
  narrow[#narrow + 1] = P .. K.label .. label
end
local sizes = {}
for _, key in ipairs(narrow) do
  sizes[key] = call('ZCARD', key)
end
table.sort(narrow, function(a, b)
  return sizes[a] < sizes[b] or (sizes[a] == sizes[b] and a < b)
end)

-- Few candidates in all: read them all and sort.
local by_state, few = 0, nil
for _, state in ipairs(states) do
  by_state = by_state + call('ZCARD', P .. K.state .. state)
end
if narrow[1] and sizes[narrow[1]] <= SMALL and sizes[narrow[1]] <= by_state then
  few = {narrow[1]}
elseif by_state <= SMALL then
  few = {}
  for i, state in ipairs(states) do
    few[i] = P .. K.state .. state
  end
end
if few then
  local entries = {}
  for _, key in ipairs(few) do
    for _, id in ipairs(call('ZRANGE', key, 0, -1)) do
      local score = matches(id)
      if score then
        local entry = {score = score, id = id}
        if not after or before(after, entry) then
          entries[#entries + 1] = entry
        end
      end
    end
  end
  table.sort(entries, before)
  for i = 1, math.min(want, #entries) do
    found[i] = {entries[i].id, digits(entries[i].score)}
  end
  return page(nil)
end

-- Entries of one index strictly behind a position, at most CHUNK.
local function chunk(key, position)
  local entries, offset = {}, 0
  while true do
    local raw
    if forward then
      local from = position and math.max(position.score, since) or since
      raw = call('ZRANGEBYSCORE', key, digits(from), '+inf', 'WITHSCORES', 'LIMIT', offset, CHUNK)
    else
      raw = call('ZREVRANGEBYSCORE', key, position and digits(position.score) or '+inf', '-inf', 'WITHSCORES',
        'LIMIT', offset, CHUNK)
    end
    for i = 1, #raw, 2 do
      local entry = {score = tonumber(raw[i + 1]), id = raw[i]}
      if not position or before(position, entry) then
        entries[#entries + 1] = entry
      end
    end
    if #entries > 0 or #raw < 2 * CHUNK then
      return entries, #raw == 2 * CHUNK
    end
    offset = offset + CHUNK
  end
end

local keys = {}
if forward then
  -- Scored by acceptance, all of them: the narrowest, which may hold ended jobs as well, or all unfinished ones.
  local all = P .. K.open
  keys[1] = narrow[1] and sizes[narrow[1]] < call('ZCARD', all) and narrow[1] or all
else
  for i, state in ipairs(states) do
    keys[i] = P .. K.state .. state
  end
end
local examined = 0
while true do
  local entries, bound = {}, nil
  for _, key in ipairs(keys) do
    local some, full = chunk(key, after)
    for _, entry in ipairs(some) do
      entries[#entries + 1] = entry
    end
    -- Behind the end of a full chunk, this index may hold entries that belong between those of the others.
    if full and (not bound or before(some[#some], bound)) then
      bound = some[#some]
    end
  end
  table.sort(entries, before)
  for _, entry in ipairs(entries) do
    if bound and before(bound, entry) then
      break
    end
    after, examined = entry, examined + 1
    if matches(entry.id) then
      found[#found + 1] = {entry.id, digits(entry.score)}
      if #found == want then
        return page(after)
      end
    end
  end
  if not bound then
    return page(nil)
  end
  if examined >= budget then
    return page(after)
  end
end
