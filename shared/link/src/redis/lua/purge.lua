-- purge (T19, T20): drops queued and scheduled jobs that were not started in time, and replaces history by tombstones that
-- was kept long enough, or of which newer jobs are enough. Where queues say how much of theirs is kept, ended jobs are
-- filed by queue first, each once, oldest first: so whoever ends a job writes no more than before, and what one queue
-- keeps for long is not in the way of another's.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit of what is dropped and of what is purged; bounds of all that no queue says anything of;
--       queues (count first), each: name, bounds. Bounds, for each state of ENDS: ms, and how many (or -1)
-- Answers {how many jobs were dropped or purged, whether there is more}
local ENDS = {'succeeded', 'error', 'given_up', 'stopped', 'dropped'}
local limit = number()
local function read_bounds()
  local bounds = {}
  for _, state in ipairs(ENDS) do
    bounds[state] = {age = number(), count = number()}
  end
  return bounds
end
local rules, names = {[''] = read_bounds()}, {}
for i = 1, number() do
  names[i] = arg()
  rules[names[i]] = read_bounds()
end

local went, dropped = 0, {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.expiry, '-inf', digits(now), 'LIMIT', 0, limit)) do
  local r, damage = read(id)
  if not r or not expirable(r.st) or not expired(r) then
    shelve(K.expiry, id, damage)
  else
    end_untold(r, 'dropped', 'expired')
    save(r)
    dropped[id] = true
    went = went + 1
  end
end
flush()

-- Purges some of an index of jobs that ended in a state; `filed`: it is not the index of the state itself.
local left = limit
local function purge_all(suffix, ids, state, filed)
  for _, id in ipairs(ids) do
    local r, damage = read(id)
    if not r or r.st ~= state then
      shelve(suffix, id, damage)
    elseif not dropped[id] then
      -- What expired a moment ago is history that begins now.
      purge(r, filed and P .. suffix)
      went, left = went + 1, left - 1
    end
  end
  flush()
end

local function clean(suffix, state, bound, filed)
  local old = now - bound.age
  if left > 0 and old > 0 then
    purge_all(suffix, call('ZRANGEBYSCORE', P .. suffix, '-inf', digits(old), 'LIMIT', 0, left), state, filed)
  end
  local over = bound.count >= 0 and math.min(call('ZCARD', P .. suffix) - bound.count, left) or 0
  if over > 0 then
    purge_all(suffix, call('ZRANGE', P .. suffix, 0, over - 1), state, filed)
  end
end

local function rule_of(r)
  local own = own_gate(r.ga, r.qu)
  local name = own and string.match(own, '^l:queue%.([^:]*):') or r.qu
  return rules[name] and name or rules[r.qu] and r.qu or ''
end

-- Files what ended in a state since the last call, up to a moment ago: nothing more can end then. Answers whether there is
-- more.
local function file(state)
  local from = call('HGET', P .. K.shard, 'filed_' .. state)
  local found = call('ZRANGEBYSCORE', P .. K.state .. state, from and '(' .. from or '-inf', '(' .. digits(now),
    'WITHSCORES', 'LIMIT', 0, L.filed)
  if #found == 0 then
    return false
  end
  -- Those of one millisecond belong together.
  local last = found[#found]
  local ids = {}
  for i = 1, #found, 2 do
    if found[i + 1] ~= last then
      ids[#ids + 1] = {found[i], found[i + 1]}
    end
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.state .. state, last, last)) do
    ids[#ids + 1] = {id, last}
  end
  for _, entry in ipairs(ids) do
    local r = read(entry[1])
    if r then
      call('ZADD', P .. K.kept .. state .. ' ' .. rule_of(r), entry[2], entry[1])
    end
  end
  call('HSET', P .. K.shard, 'filed_' .. state, last)
  return #found == 2 * L.filed
end

-- Other queues than before: everything is filed anew.
local now_keeping, before = table.concat(names, '\n'), call('GET', P .. K.keeping) or ''
if now_keeping ~= before then
  for _, state in ipairs(ENDS) do
    call('UNLINK', P .. K.kept .. state .. ' ')
    for name in string.gmatch(before, '[^\n]+') do
      call('UNLINK', P .. K.kept .. state .. ' ' .. name)
    end
    call('HDEL', P .. K.shard, 'filed_' .. state)
  end
  if now_keeping == '' then
    call('DEL', P .. K.keeping)
  else
    call('SET', P .. K.keeping, now_keeping)
  end
end

local more = false
for _, state in ipairs(ENDS) do
  if now_keeping == '' then
    clean(K.state .. state, state, rules[''][state], false)
  else
    more = file(state) or more
    clean(K.kept .. state .. ' ', state, rules[''][state], true)
    for _, name in ipairs(names) do
      clean(K.kept .. state .. ' ' .. name, state, rules[name][state], true)
    end
  end
end
return {went, (more or left <= 0) and 1 or 0}
