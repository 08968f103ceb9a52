-- find: lists jobs of one phase of life, from a position on: unfinished ones by the time of acceptance, oldest
-- first; ended ones by the time of their end, newest first. Reads the narrowest index, asks the other indexes about its
-- entries, many at once, and reads the records of those that are left. Looks at about `budget` entries in one call;
-- writes nothing. Where a walk in the order of the answer finds little, the caller asks for parts of the narrowest index
-- instead, in its own order: each call answers the best of a part, which the caller puts together.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; `open` or `ended`; states (count first); topics (count first; none: any); queue (or
--       empty); labels as name=value (count first); templates (count first), of each its ranges (count first): field,
--       `e` and the term, empty, or `n` and two scores, or `s`, two bounds of members and two texts with `+` in front (or
--       empty); since ms; position: score (or empty), id; how many; budget; `walk`, or `part` and a position in an index:
--       number of the restriction (0: choose one), number of the place, its index, score, member (or empty), and the job
--       behind which nobody is wanted any more: score (or empty), id
-- Answers {{id, score}..., position where the next call goes on: score, id; both empty at the end}; of a part:
--   {{id, score}..., number of the restriction (0: no index is worth it), number of the place (0: it was the last part),
--   its index, score, member}
local phase, states, topics, queue, labels, templates = arg(), list(), list(), arg(), list(), {}
for i = 1, number() do
  templates[i] = {}
  for j = 1, number() do
    local range = {path = arg(), kind = arg(), low = arg(), high = arg()}
    if range.kind == 'n' then
      range.least = range.low == '-inf' and -math.huge or tonumber(range.low)
      range.most = range.high == '+inf' and math.huge or tonumber(range.high)
    elseif range.kind == 's' then
      range.least, range.most = arg(), arg()
    end
    templates[i][j] = range
  end
end
local since, after_score, after_id, want, budget = number(), arg(), arg(), number(), number()
local part_of
if arg() == 'part' then
  part_of = {restriction = number(), place = number(), key = arg(), score = arg(), member = arg(), bound = arg(), bound_id = arg()}
end
-- Entries that are gathered and sorted at once; entries that one command takes; indexes that are read side by side.
local FEW, MANY, BESIDE = 5000, 1000, 32
-- Entries of a part.
local PART = 10000
-- An index of more is not intersected with others: the server does nothing else meanwhile.
local LARGE = 100000
local forward = phase == 'open'

local wanted, topic_set, any_topic = {}, {}, #topics == 0
for _, state in ipairs(states) do
  wanted[state] = true
end
for _, topic in ipairs(topics) do
  topic_set[topic] = true
end

-- Whether text a is not behind text b, byte by byte: the language's own comparison goes by the server's locale.
local function in_order(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a <= #b
end

-- The terms of fields in a list as it is kept, by their path, each read when it is asked for.
local function terms_in(kept)
  local all
  return function(path)
    -- What has nothing that JSON escapes stands there as it is; behind a backslash it is in the middle of a text.
    local first, last = string.find(kept, '"\\u0001' .. path .. '\\u0001', 1, true)
    local text = first and string.byte(kept, first - 1) ~= 92 and string.match(kept, '^([^"\\]*)"', last + 1)
    if text then
      return text
    elseif not all then
      all = {}
      for _, term in ipairs(cjson.decode(kept)) do
        local path, text = string.match(term, '^\1([^\1]*)\1(.*)$')
        if path then
          all[path] = text
        end
      end
    end
    return all[path]
  end
end

-- Whether a job fits one of the templates, by the terms that are kept with it.
local function fits(id)
  local kept = try('HGET', P .. K.detail .. id, 'lb')
  local term_of = terms_in(type(kept) == 'string' and kept or '[]')
  for _, ranges in ipairs(templates) do
    local all = true
    for _, range in ipairs(ranges) do
      local term = term_of(range.path) or ''
      local kind, value = string.match(term, '^(.)(.*)$')
      if range.kind == 'e' then
        all = all and '\1' .. range.path .. '\1' .. term == range.low
      elseif kind ~= range.kind then
        all = false
      elseif kind == 'n' then
        value = tonumber(value)
        all = all and range.least <= value and value <= range.most
      else
        all = all and (range.least == '' or in_order(string.sub(range.least, 2), value))
          and (range.most == '' or in_order(value, string.sub(range.most, 2)))
      end
    end
    if all then
      return true
    end
  end
  return false
end

-- Whether a job is asked for, by what is kept with it: an index may be behind.
local looked = 0
local function matches(id)
  looked = looked + 4
  -- Of a range of texts no index told yet who fits: most do not, as a rule.
  if #templates > 0 and not fits(id) then
    return false
  end
  local r = read(id)
  if not r or not wanted[r.st] or not (any_topic or topic_set[r.tp]) or r.ct < since or (queue ~= '' and r.qu ~= queue) then
    return false
  end
  for _, label in ipairs(labels) do
    if not call('ZSCORE', P .. K.label .. label, id) then
      return false
    end
  end
  return true
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

-- Adds those that are asked for, in their order. Answers the last one that was wanted, once there are as many.
local function collect(entries)
  local listed = {}
  for _, entry in ipairs(entries) do
    -- A damaged index of another state may have it as well.
    if not listed[entry.id] and matches(entry.id) then
      listed[entry.id] = true
      found[#found + 1] = {entry.id, digits(entry.score)}
      if #found == want then
        return entry
      end
    end
  end
end

local function page(position)
  return {found, position and digits(position.score) or '', position and position.id or ''}
end

-- What restricts by an index, one after the other: places of which a job has to be in one. Each place is an index with
-- its size, `least` and `most` where its scores are values, and `lex` where its members are.
local restrictions = {}
local function restrict(places, by_time)
  local size = 0
  for _, place in ipairs(places) do
    if not place.size then
      place.size = call('ZCARD', P .. place.key)
    end
    size = size + place.size
  end
  local n = #restrictions + 1
  restrictions[n] = {places = places, size = size, by_time = by_time, number = n}
end

local function keys_of(kind, names)
  local places = {}
  for i, name in ipairs(names) do
    places[i] = {key = kind .. name}
  end
  return places
end

local function place_of(range)
  if range.kind == 'e' then
    return {key = K.label .. range.low}
  elseif range.kind == 'n' then
    local key = K.numbers .. range.path
    return {key = key, range = range, size = call('ZCOUNT', P .. key, range.low, range.high)}
  end
  local key = K.texts .. range.path
  return {key = key, range = range, lex = true, size = call('ZLEXCOUNT', P .. key, range.low, range.high)}
end

if queue ~= '' then
  restrict({{key = K.queue .. queue}}, true)
end
if not any_topic and #topics <= BESIDE then
  restrict(keys_of(K.topic, topics), true)
end
for _, label in ipairs(labels) do
  restrict({{key = K.label .. label}}, true)
end
if #templates == 1 then
  for _, range in ipairs(templates[1]) do
    restrict({place_of(range)}, range.kind == 'e')
  end
elseif #templates > 1 then
  -- The narrowest of each template: who fits one is in one of these.
  local places, by_time = {}, true
  for i, ranges in ipairs(templates) do
    for _, range in ipairs(ranges) do
      local place = place_of(range)
      place.size = place.size or call('ZCARD', P .. place.key)
      if not places[i] or place.size < places[i].size then
        places[i] = place
      end
    end
    by_time = by_time and not places[i].range
  end
  restrict(places, by_time)
end
local state_places = keys_of(K.state, states)
restrict(state_places, not forward)
local by_state = restrictions[#restrictions]

-- The members of a place.
local function members(place)
  if place.ids then
    return place.ids
  elseif place.lex then
    local ids = call('ZRANGEBYLEX', P .. place.key, place.range.low, place.range.high)
    for i, member in ipairs(ids) do
      ids[i] = string.sub(member, -36)
    end
    return ids
  elseif place.range then
    return call('ZRANGEBYSCORE', P .. place.key, place.range.low, place.range.high)
  end
  return call('ZRANGE', P .. place.key, 0, -1)
end

-- Those of at most MANY entries that have a score in one of the places.
local function in_one_of(places, entries)
  if #entries == 0 then
    return entries
  end
  local ids, kept, n = {}, {}, 0
  for i, entry in ipairs(entries) do
    ids[i] = entry.id
  end
  local has = {}
  for _, place in ipairs(places) do
    if place.lex then
      -- Its members are no ids: the job's own terms decide.
      return entries
    end
    looked = looked + #ids / 4
    for i, score in ipairs(call('ZMSCORE', P .. place.key, unpack(ids))) do
      if score and not has[i] then
        local range = place.range
        has[i] = not range or (range.least <= tonumber(score) and tonumber(score) <= range.most)
      end
    end
  end
  for i, entry in ipairs(entries) do
    if has[i] then
      n = n + 1
      kept[n] = entry
    end
  end
  return kept
end

-- Which of the ids at most MANY from a place on are in the phase, behind the position and before `bound` (if there is
-- one), with their scores in it. Most are not, as a rule: nothing is made of those.
local function rated(ids, from, bound)
  local upto, entries, n = math.min(from + MANY - 1, #ids), {}, 0
  for _, place in ipairs(forward and {{key = K.open}} or state_places) do
    looked = looked + (upto - from + 1) / 4
    local scores = call('ZMSCORE', P .. place.key, unpack(ids, from, upto))
    for i = 1, #scores do
      local score = scores[i]
      if score then
        score = tonumber(score)
        local beside = score < since or bound and score ~= bound.score and (score > bound.score) == forward
        local entry = not beside and {id = ids[from + i - 1], score = score}
        if entry and (not after or before(after, entry)) and (not bound or before(entry, bound)) then
          n = n + 1
          entries[n] = entry
        end
      end
    end
  end
  return entries
end

-- Those of at most MANY entries that all indexes have but the one that they are from and one that was asked already.
local function sieve(entries, source, asked)
  for _, restriction in ipairs(restrictions) do
    -- Many states are most of the jobs: their records tell.
    if restriction ~= source and restriction ~= asked and not (restriction == by_state and #states > 4) then
      entries = in_one_of(restriction.places, entries)
    end
  end
  return entries
end

-- The narrowest is asked first: it leaves the fewest for the others.
table.sort(restrictions, function(a, b)
  return a.size < b.size
end)
local narrowest = restrictions[1]

-- Those that are left of ids from an index, best first. `few`: the first so many are enough; answers then whether
-- there may be more. `bound`: the job behind which nobody is wanted, if there is one.
local function best(ids, source, few, bound)
  local left = {}
  for from = 1, #ids, MANY do
    for _, entry in ipairs(sieve(rated(ids, from, bound), source, not forward and by_state)) do
      left[#left + 1] = entry
    end
  end
  -- To sort numbers is cheap, and few of the entries are wanted.
  local more = #left > 2 * few
  if more then
    local scores, some = {}, {}
    for i, entry in ipairs(left) do
      scores[i] = entry.score
    end
    table.sort(scores)
    local bound = forward and scores[few] or scores[#scores + 1 - few]
    for _, entry in ipairs(left) do
      if entry.score == bound or (entry.score < bound) == forward then
        some[#some + 1] = entry
      end
    end
    left = some
  end
  table.sort(left, before)
  return left, more
end

-- What walks in the order of the answer go through: all of the phase, or the narrowest that has this order.
local source, keys = by_state, state_places
if forward then
  source, keys = nil, {{key = K.open}}
  local size = call('ZCARD', P .. K.open)
  for _, restriction in ipairs(restrictions) do
    if restriction.by_time and restriction.size < size then
      source, keys, size = restriction, restriction.places, restriction.size
    end
  end
end

-- The ids in one place from a position on, and the last member with its score, where there are more.
local function part_from(place, score, member)
  local key, range, first = P .. place.key, place.range, 0
  local low = range and range.low
  if place.lex then
    first = low ~= '-' and call('ZLEXCOUNT', key, '-', '(' .. string.sub(low, 2)) or 0
  elseif range and low ~= '-inf' then
    first = call('ZCOUNT', key, '-inf', '(' .. low)
  end
  local start, stop = first, first + place.size
  if member ~= '' then
    local rank = call('ZRANK', key, member)
    if rank then
      start = rank + 1
    elseif place.lex then
      start = call('ZLEXCOUNT', key, '-', '(' .. member)
    else
      -- Those with its score come again.
      start = call('ZCOUNT', key, '-inf', '(' .. score)
    end
    start = math.max(start, first)
  end
  local upto = math.min(start + PART, stop)
  local ids = start < upto and call('ZRANGE', key, start, upto - 1) or {}
  local last = upto < stop and ids[#ids]
  if place.lex then
    for i, member in ipairs(ids) do
      ids[i] = string.sub(member, -36)
    end
  end
  if last then
    return ids, last, call('ZSCORE', key, last)
  end
  return ids
end

if part_of then
  local gathered = narrowest
  for _, restriction in ipairs(restrictions) do
    if restriction.number == part_of.restriction then
      gathered = restriction
    end
  end
  if part_of.restriction == 0 then
    local size = source and source.size or call('ZCARD', P .. K.open)
    if gathered == source or 2 * gathered.size > size then
      return {found, 0, 0, '', '', ''}
    end
  end
  local number = math.max(part_of.place, 1)
  local place = gathered.places[number]
  if not place then
    return {found, gathered.number, 0, '', '', ''}
  end
  -- Of one of several templates another index may be the narrowest by now: it is read from its beginning.
  local known = part_of.key == place.key and part_of.member or ''
  local ids, member, score = part_from(place, part_of.score, known)
  local bound = part_of.bound ~= '' and {score = tonumber(part_of.bound), id = part_of.bound_id}
  local left, more = best(ids, gathered, want + 100, bound)
  if not collect(left) and more then
    found = {}
    collect((best(ids, gathered, math.huge, bound)))
  end
  if not member then
    number = number < #gathered.places and number + 1 or 0
  end
  return {found, gathered.number, number, member and place.key or '', score or '', member or ''}
end

-- Few candidates in all: gather them, and sort those that are left. What two indexes or more have in common may be few,
-- where each of them is large.
if narrowest.size > FEW then
  local whole, least = {}, math.huge
  for _, restriction in ipairs(restrictions) do
    local place = restriction.places[1]
    if #restriction.places == 1 and not place.range then
      whole[#whole + 1] = P .. place.key
      least = math.min(least, restriction.size)
    end
  end
  if #whole > 1 and least <= LARGE then
    local bounded = {unpack(whole)}
    bounded[#whole + 1], bounded[#whole + 2] = 'LIMIT', FEW + 1
    local common = call('ZINTERCARD', #whole, unpack(bounded))
    if common <= FEW then
      local ids = common > 0 and call('ZINTER', #whole, unpack(whole)) or {}
      looked = looked + least
      narrowest = {places = {{ids = ids}}, size = common}
    end
  end
end
if narrowest.size <= FEW then
  local candidates, seen = {}, {}
  for _, place in ipairs(narrowest.places) do
    for _, id in ipairs(members(place)) do
      if not seen[id] then
        seen[id], candidates[#candidates + 1] = true, id
      end
    end
  end
  local left, more = best(candidates, narrowest, want + 100)
  return page(collect(left) or more and left[#left] or nil)
end

-- Entries of one index strictly behind a position, and whether there may be more.
local function chunk(key, position, size)
  local entries, offset = {}, 0
  while true do
    local raw
    if forward then
      local from = position and math.max(position.score, since) or since
      raw = call('ZRANGEBYSCORE', key, digits(from), '+inf', 'WITHSCORES', 'LIMIT', offset, size)
    else
      -- Nobody ends before being accepted.
      raw = call('ZREVRANGEBYSCORE', key, position and digits(position.score) or '+inf', digits(since), 'WITHSCORES',
        'LIMIT', offset, size)
    end
    for i = 1, #raw, 2 do
      local entry = {score = tonumber(raw[i + 1]), id = raw[i]}
      if not position or before(position, entry) then
        entries[#entries + 1] = entry
      end
    end
    if #entries > 0 or #raw < 2 * size then
      return entries, #raw == 2 * size
    end
    offset = offset + size
  end
end

-- Many candidates: walk in the order of the answer.
local size = math.min(2 * want, MANY)
while true do
  local merged, bound = {}, nil
  local each = math.max(math.floor(size / #keys), 20)
  for _, place in ipairs(keys) do
    local some, full = chunk(P .. place.key, after, each)
    for _, entry in ipairs(some) do
      merged[#merged + 1] = entry
    end
    -- Behind the end of a full chunk, this index may hold entries that belong between those of the others.
    if full and (not bound or before(some[#some], bound)) then
      bound = some[#some]
    end
  end
  if #keys > 1 then
    table.sort(merged, before)
  end
  local part, i = {}, 1
  while merged[i] do
    while merged[i] and #part < MANY and not (bound and before(bound, merged[i])) do
      part[#part + 1] = merged[i]
      i = i + 1
    end
    if #part == 0 then
      break
    end
    looked, after = looked + #part, part[#part]
    local last = collect(sieve(part, source))
    if last then
      return page(last)
    end
    part = {}
  end
  if not bound then
    return page(nil)
  end
  if looked >= budget then
    return page(after)
  end
  size = math.min(2 * size, MANY)
end
