-- scrub (T21): looks at some of the keys, from where the last call stopped, and mends what does not agree with a record:
-- an index that lacks a job or has it in the wrong place, an entry whose job is gone, a unique key or a place at a gate
-- whose job has ended. The record is what is right; one that is damaged, and what belongs to it, is left alone. In a sound
-- store it changes nothing, and two that scrub at once share the work.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; about how many keys or entries to look at
-- Answers {how many it looked at, 1 when all were looked at by now, mended: indexes, entries, keys, holders}
local limit = number()
local mended = {indexes = 0, entries = 0, keys = 0, holders = 0}
local function mend(kind)
  mended[kind] = mended[kind] + 1
end

local function has_gate(r, gate)
  return r.ga and string.find('\n' .. r.ga .. '\n', '\n' .. gate .. '\n', 1, true) ~= nil
end

-- Sees to it that an index has a job with this score, or does not have it (nil). `loose`: any score is right.
local function keep(key, member, score, loose)
  local kept = tonumber(call('ZSCORE', P .. key, member) or nil)
  if score and (not kept or not loose and kept ~= score) then
    call('ZADD', P .. key, digits(score), member)
  elseif kept and not score then
    call('ZREM', P .. key, member)
  else
    return
  end
  mend('indexes')
end

-- Whether a unique key belongs to a job, as its record says: a period ends by itself.
local function owns_key(r)
  if not r.uq or TERMINAL[r.st] then
    return false
  end
  local lock, mode = lock_of(r.tp, r.uq)
  return mode == 'until_finished' or mode ~= 'period' and r.at == 0, lock
end

local function look_at_terms(r)
  local kept = try('HGET', P .. K.detail .. r.id, 'lb')
  for _, term in ipairs(type(kept) == 'string' and cjson.decode(kept) or {}) do
    local path, kind, value = string.match(term, '^\1([^\1]*)\1(.)(.*)$')
    if kind ~= '-' then
      keep(K.label .. term, r.id, r.ct, true)
    end
    if kind == 'n' and not call('ZSCORE', P .. K.numbers .. path, r.id) then
      call('ZADD', P .. K.numbers .. path, value, r.id)
      mend('indexes')
    elseif kind == 's' then
      keep(K.texts .. path, value .. '\0' .. r.id, 0)
    end
  end
end

local function look_at_record(id)
  local r = read(id)
  if not r then
    return
  end
  local due = r.st == 'scheduled' or r.st == 'retrying'
  for state in pairs(NEEDS) do
    local score = state == r.st and (due and r.du or r.st == 'active' and r.le or r.si) or nil
    -- The other scores may be older than the record.
    keep(K.state .. state, id, score, not due)
  end
  keep(K.open, id, not TERMINAL[r.st] and r.ct or nil)
  keep(K.topic .. r.tp, id, r.ct)
  keep(K.queue .. r.qu, id, r.ct)
  keep(K.outbox, id, r.ob or nil)
  keep(K.expiry, id, r.ex and expirable(r.st) and r.ex or nil)
  look_at_terms(r)
  local owns, lock = owns_key(r)
  if owns and not try('GET', lock) then
    call('SET', lock, id)
    mend('keys')
  end
  if r.wg and not call('ZSCORE', P .. K.waiters .. r.wg, id) then
    -- Nobody would ever let it through.
    local gate, turn = string.match(r.wg, '^([^\n]*)\n(.*)$')
    call('ZADD', P .. K.waiters .. r.wg, digits(r.sq or now_us), id)
    call('ZADD', P .. K.turns .. gate, 'NX', digits(now_us), turn)
    gates().wake(gate)
    mend('indexes')
  end
end

local function look_at_key(lock)
  local id = try('GET', P .. lock)
  if type(id) ~= 'string' or call('PTTL', P .. lock) >= 0 then
    return
  end
  local r, damage = read(id)
  if damage then
    return
  end
  local owns, own = false, nil
  if r then
    owns, own = owns_key(r)
  end
  if not owns or own ~= P .. lock then
    call('DEL', P .. lock)
    mend('keys')
  end
end

-- Whether an entry belongs into an index, by the record; and what it is a case of, with the gate to be woken.
local ENTRIES = {
  [K.topic] = function(r, name) return r.tp == name end,
  [K.queue] = function(r, name) return r.qu == name end,
  [K.label] = function() return true end,
  [K.numbers] = function() return true end,
  [K.texts] = function() return true end,
  [K.state] = function(r, name) return r.st == name end,
  [K.open] = function(r) return not TERMINAL[r.st] end,
  [K.outbox] = function(r) return r.ob end,
  [K.expiry] = function(r) return r.ex and expirable(r.st) end,
  [K.waiters] = function(r, name) return r.wg == name end,
  [K.unclaimed] = function(r, name) return r.st == 'queued' and has_gate(r, name), name end,
  [K.holders] = function(r, name)
    local order = string.sub(name, 1, 1) == 'o'
    return has_gate(r, name) and (order and not TERMINAL[r.st] or r.st == 'queued' or r.st == 'active'), name
  end,
}

-- The kind of a key among those, and what follows it.
local function kind_of(key)
  local kind = string.match(key, '^%a+:')
  if kind then
    return ENTRIES[kind] and kind, string.sub(key, #kind + 1)
  end
  return ENTRIES[key] and key, ''
end

local function look_at_entry(key, kind, name, member)
  local r, damage = read(string.sub(member, -36))
  if damage or r and ENTRIES[kind](r, name) then
    return
  end
  call('ZREM', P .. key, member)
  if kind == K.holders or kind == K.unclaimed then
    gates().wake(name)
    mend('holders')
    return
  end
  if kind == K.waiters and call('EXISTS', P .. key) == 0 then
    local gate, turn = string.match(name, '^([^\n]*)\n(.*)$')
    if gate then
      call('ZREM', P .. K.turns .. gate, turn)
      gates().wake(gate)
    end
  end
  mend('entries')
end

local known, every = call('HMGET', P .. K.scrub, 'at', 'in'), '*'
local cursor, inner = known[1] or '0', known[2] or '0'
local key, looked, over = call('LINDEX', P .. K.scrub_keys, 0), 0, 0
if key then
  local kind, name = kind_of(key)
  local page = try('ZSCAN', P .. key, inner, 'COUNT', limit)
  if page.err or not kind then
    page = {'0', {}}
  end
  for i = 1, #page[2], 2 do
    look_at_entry(key, kind, name, page[2][i])
    looked = looked + 1
  end
  inner = page[1]
  if inner == '0' then
    call('LPOP', P .. K.scrub_keys)
  end
else
  local page = call('SCAN', cursor, 'MATCH', P .. every, 'COUNT', limit)
  cursor = page[1]
  for _, full in ipairs(page[2]) do
    local key = string.sub(full, #P + 1)
    if string.sub(key, 1, #K.job) == K.job then
      look_at_record(string.sub(key, #K.job + 1))
    elseif string.sub(key, 1, #K.unique) == K.unique then
      look_at_key(key)
    elseif kind_of(key) then
      call('RPUSH', P .. K.scrub_keys, key)
    end
    looked = looked + 1
  end
end
if cursor == '0' and call('EXISTS', P .. K.scrub_keys) == 0 then
  over = 1
  call('HINCRBY', P .. K.scrub, 'rounds', 1)
  call('HSET', P .. K.scrub, 'round', digits(now))
end
call('HSET', P .. K.scrub, 'at', cursor, 'in', inner)
for kind, times in pairs(mended) do
  if times > 0 then
    call('HINCRBY', P .. K.scrub, kind, times)
    call('HSET', P .. K.scrub, 'mended', digits(now))
  end
end
flush()
return {looked, over, mended.indexes, mended.entries, mended.keys, mended.holders}
