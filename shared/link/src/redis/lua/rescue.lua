-- rescue (T12): takes attempts whose lease ended away from their owners, oldest first, and requeues or ends their
-- jobs. Does nothing during an amnesty, nor between a restart of the server and the first beat after it, nor while the
-- last beat of anybody is two beats old: whoever beats first finds out whether all of them stood still. If that one is
-- new it knows nothing of the others, who get two beats' time to tell. What may be published at once is handed out; the
-- outbox is the net for it and the way for the rest.
-- A job is blamed for the end of its process only where it was alone: its owner is silent, no other attempt of the
-- owner is near its end, and none was taken from it before.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; most bytes to hand out; two beats, ms; run id of the server
-- Answers {now, {outgoing...}, ended, more}; outgoing = {id, topic, generation, fence, created,
--   envelope, priority if it is not normal}
local limit, most, gap, run = number(), number(), number(), ARGV[#ARGV]
local ACTIVE = K.state .. 'active'
local known = call('HMGET', P .. K.shard, 'run', 'amnesty', 'beat', 'gap_from', 'gap_to')
local restarted = run ~= '' and known[1] and known[1] ~= run
local quiet = now - (tonumber(known[3] or nil) or -math.huge) > gap
local hoped = known[5] and now - tonumber(known[5]) <= gap and call('ZCOUNT', P .. K.renewed, '-inf', known[4]) > 0
if restarted or quiet or hoped or (tonumber(known[2] or nil) or 0) > now then
  return {now, {}, 0, 0}
end
local due = call('ZRANGEBYSCORE', P .. ACTIVE, '-inf', digits(now), 'LIMIT', 0, limit + 1)
if #due == 0 then
  return {now, {}, 0, 0}
end
local SAID = 'its process went away without a verdict'
local SAID_ALONE = SAID .. ', and nothing else ran there'
local BACKOFF_MS = {0, 1000, 5000}

-- Who ran beside whom. The leases of one process end together, or within two beats of each other.
local records, damages, companies = {}, {}, {}
local near = call('ZRANGEBYSCORE', P .. ACTIVE, '-inf', digits(now + gap), 'LIMIT', 0, L.company)

-- What is known of the process of an attempt: whether it is silent, how many attempts were taken from it before, and the
-- jobs of those and of the ones that it has now.
local function company(r)
  local owner = (r.oi or '') .. '/' .. (r.oc or '')
  local found = companies[owner]
  if not found then
    local renewed = tonumber(call('ZSCORE', P .. K.renewed, owner) or nil)
    found = {silent = not renewed or now - renewed > gap, count = 0, ids = {}, gone = {}, taken = 0}
    for word in string.gmatch(call('HGET', P .. K.fallen, owner) or '', '%S+') do
      if found.before then
        found.ids[#found.ids + 1], found.gone[#found.gone + 1] = word, word
      else
        found.before = tonumber(word)
      end
    end
    found.count = found.before or 0
    companies[owner] = found
  end
  return found
end

for _, id in ipairs(near) do
  local r, damage = read(id)
  records[id], damages[id] = r, damage
  if r and r.st == 'active' then
    local found = company(r)
    found.count = found.count + 1
    found.ids[#found.ids + 1] = id
  end
end

local function lease_gone(r)
  local found = company(r)
  local beside = found.count - 1
  local alone = found.silent and beside == 0 and #near < L.company
  found.taken, found.gone[#found.gone + 1] = found.taken + 1, r.id
  local crash = ',"crash":{"incarnation":' .. cjson.encode(r.oc or '') .. ',"alone":' .. tostring(alone)
    .. ',"beside":' .. digits(beside)
  local neighbours = {}
  for _, id in ipairs(found.ids) do
    if id ~= r.id and #neighbours < L.neighbours then
      neighbours[#neighbours + 1] = '"' .. id .. '"'
    end
  end
  if #neighbours > 0 then
    crash = crash .. ',"neighbours":[' .. table.concat(neighbours, ',') .. ']'
  end
  local progress = r.dx and try('HGET', P .. K.detail .. r.id, 'p')
  if type(progress) == 'string' then
    crash = crash .. ',"progress":' .. progress
  end
  local said = '+' .. (alone and SAID_ALONE or SAID)
  take_away(r)
  put(r, 'cr', r.cr + 1)
  remember(r, 'crashed', said, crash .. '}')
  put(r, 'me', said)
  if r.cn then
    end_untold(r, 'stopped', 'stop_requested')
  elseif alone and r.cr >= r.mc then
    end_untold(r, 'given_up', 'poison')
  elseif r.cr >= math.max(r.mc, L.shared_crashes) then
    end_untold(r, 'given_up', 'crashes_exhausted')
  else
    count_other(place_of_job(r.tp, r.qu), L.slot_failed)
    keep_untold(r, 'failed')
    -- The rescuer publishes a first crash itself, at once.
    local wait = r.cr <= 1 and L.outbox_grace_ms or (BACKOFF_MS[r.cr] or 30000)
    enter_queued(r, 'crashed', wait)
  end
  save(r)
end

local runnable, ended, more, bytes = {}, 0, 0, 0
for i, id in ipairs(due) do
  if i > limit or bytes >= most then
    more = 1
    break
  end
  local r, damage = records[id], damages[id]
  if not r or r.st ~= 'active' then
    shelve(ACTIVE, id, damage)
  elseif r.le > now then
    index(ACTIVE, r.le, id)
  else
    lease_gone(r)
    if TERMINAL[r.st] then
      ended = ended + 1
    elseif r.st == 'queued' and r.cr <= 1 then
      local size
      runnable[#runnable + 1], size = outgoing(r)
      bytes = bytes + size
    end
  end
end
-- The rest of a process may be taken back later, and was not alone either.
for owner, found in pairs(companies) do
  if found.silent and found.taken > 0 then
    local first = table.concat(found.gone, ' ', 1, math.min(#found.gone, L.neighbours + 1))
    call('HSET', P .. K.fallen, owner, digits((found.before or 0) + found.taken) .. ' ' .. first)
    call('PEXPIRE', P .. K.fallen, L.fallen_ms)
  end
end
flush()
return {now, runnable, ended, more}
