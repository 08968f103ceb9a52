-- Accepting jobs (T1, T2): used by enqueue, by finish for follow-up jobs, and by rebuild.

-- One job from the arguments. A `?` in front of its key: nobody accepted it before.
local function read_job()
  local job = {
    id = arg(), topic = arg(), queue = arg(), start = arg(), start_ms = number(), max_retries = number(),
    max_crashes = number(), expiry = arg(), expiry_ms = number(), retry_of = arg(), labels = list(), gates = arg(),
    turn = arg(), priority = number(), site = arg(), unique = arg(), envelope = arg(),
  }
  if string.byte(job.unique) == 63 then
    job.unique, job.fresh = string.sub(job.unique, 2), true
  end
  return job
end

-- How long no new key is given, ms: a store that restarted, went back or was emptied may have forgotten keys, and whose
-- they are is offered again in that time. A renewal notices (loss.lua), or the first who asks: by a server that is not
-- the one known before, or by a store that knows nothing while the caller knew another server.
local keys_wait_ms
local function keys_wait()
  if keys_wait_ms then
    return keys_wait_ms
  end
  local run, before = string.match(ARGV[#ARGV], '^(%S*) (%S*)$')
  local known = call('HMGET', P .. K.shard, 'run', 'keys_run', 'keys_from', 'lease')
  local renewed, asked, from = known[1] or '', known[2] or '', tonumber(known[3] or nil) or 0
  if run ~= '' and asked ~= run then
    local empty = renewed == '' and asked == ''
    if empty and before ~= '' or not empty and renewed ~= run then
      from = math.max(from, now + math.max(tonumber(known[4] or nil) or 0, L.keys_wait_ms))
      call('HSET', P .. K.shard, 'keys_from', digits(from))
    end
    call('HSET', P .. K.shard, 'keys_run', run)
  end
  -- A clock that went back does not make it longer.
  keys_wait_ms = math.min(math.max(from - now, 0), math.max(tonumber(known[4] or nil) or 0, L.keys_wait_ms))
  return keys_wait_ms
end

local function too_many(topic)
  return not known(topic) and call('HLEN', P .. K.topics) >= L.topics
end

-- Who has the key of a unique job: its record, or its id alone where that is forgotten.
local function holder_of(job)
  local lock, mode, ms = lock_of(job.topic, job.unique)
  local id = try('GET', lock)
  if type(id) ~= 'string' or id == job.id then
    return nil
  end
  local r = read(id)
  -- No key outlives its job but for a time.
  if call('PTTL', lock) < 0 and not (r and r.uq and not TERMINAL[r.st]) then
    return nil
  end
  return r or id, mode, ms
end

local function take_key(job)
  local lock, mode, ms = lock_of(job.topic, job.unique)
  if mode == 'period' then
    call('SET', lock, job.id, 'PX', digits(ms))
  else
    call('SET', lock, job.id)
  end
end

-- The job that has the key gets this one's payload, and its time where it waits for one. Answers whether it did: it may
-- have started, and only what our own encoder wrote can be given another id.
local function supersede(r, job, mode, ms)
  local head = '{"v":1,"id":"'
  local own = #head + #job.id
  if mode ~= 'debounce' and mode ~= 'latest' or not (expirable(r.st)) or string.sub(job.envelope, 1, #head) ~= head
    or string.sub(job.envelope, own + 1, own + 1) ~= '"' then
    return false
  end
  call('SET', P .. K.envelope .. r.id, head .. r.id .. string.sub(job.envelope, own + 1))
  local before = try('HGET', P .. K.detail .. r.id, 'lb')
  if type(before) == 'string' then
    for _, term in ipairs(cjson.decode(before)) do
      found_by(term, r.tp, r.id)
    end
    call('HDEL', P .. K.detail .. r.id, 'lb')
  end
  if #job.labels > 0 then
    detail('HSET', P .. K.detail .. r.id, 'lb', cjson.encode(job.labels))
    for _, term in ipairs(job.labels) do
      found_by(term, r.tp, r.id, r.ct)
    end
  end
  if r.st == 'scheduled' and mode == 'debounce' then
    put(r, 'du', now + ms)
    index(K.state .. 'scheduled', r.du, r.id)
  elseif r.st == 'queued' then
    become_queued(r, r.re, L.outbox_grace_ms)
  end
  save(r)
  return true
end

-- Writes a job that is surely new.
local function create(job, created)
  local origin = job.retry_of ~= '' and read(job.retry_of)
  if origin then
    put(origin, 'ra', job.id)
    save(origin)
  end
  local due, expires
  if job.start == 'after' then
    due = now + job.start_ms
  elseif job.start == 'at' then
    due = job.start_ms
  end
  if due and due <= now then
    due = nil
  end
  if job.expiry == 'after' then
    expires = now + job.expiry_ms
  elseif job.expiry == 'at' then
    expires = job.expiry_ms
  end
  local id = job.id
  local site = job.site ~= '' and job.site or nil
  if site and not is_firm(site) and not has_room(lane_of_site(job.topic, job.priority == 1, site)) then
    site = nil
  end
  make_known(job.topic, job.priority == 1, site)
  local r = {
    id = id, st = due and 'scheduled' or 'queued', tp = job.topic, qu = job.queue, ge = due and 0 or 1, fe = 0, at = 0,
    fa = 0, cr = 0, mr = job.max_retries, mc = job.max_crashes, ct = created, si = now, ex = expires,
    uq = job.unique ~= '' and job.unique or nil, ga = job.gates ~= '' and job.gates or nil,
    tu = job.turn ~= '' and job.turn or nil, pr = job.priority ~= 0 and job.priority or nil, wh = site,
  }
  if job.start == 'never' then
    r.st, r.re, r.ge, r.ex = 'dropped', 'discarded', 0, nil
    expires = nil
  elseif due then
    r.du, r.re = due, 'delayed'
    earliest = math.min(earliest or due, due)
  else
    r.ob = now + L.outbox_grace_ms
    hold_back(r)
    if r.ob then
      index(K.outbox, r.ob, id)
    end
  end
  local state = r.st
  if expires then
    index(K.expiry, expires, id)
  end
  if r.ga and not TERMINAL[state] then
    gates().count_in(r)
  end
  if r.uq and not TERMINAL[state] and not holder_of(job) then
    take_key(job)
  end
  call('SET', P .. K.envelope .. id, job.envelope)
  if #job.labels > 0 then
    detail('HSET', P .. K.detail .. id, 'lb', cjson.encode(job.labels))
  end
  store(r)
  index(K.state .. state, due or now, id)
  if not TERMINAL[state] then
    index(K.open, created, id)
  end
  index(K.topic .. job.topic, created, id)
  index(K.queue .. job.queue, created, id)
  for _, term in ipairs(job.labels) do
    found_by(term, job.topic, id, created)
  end
  local place = place_of_job(job.topic, job.queue)
  count(state, place, 1)
  count('accepted', place, 1)
  if site and state == 'queued' then
    count_at(r, 1)
  end
  return {'ok', state, r.ge, created, 0}
end

local function accept(job)
  local r, damage = read(job.id)
  if damage then
    return {'damaged', damage}
  end
  if r then
    if r.tp ~= job.topic then
      return {'taken'}
    end
    return {'ok', r.st, r.ge, r.ct, job.site ~= '' and not r.wh and 11 or 1}
  end
  if entombed(job.id) then
    return {'ended'}
  end
  if job.retry_of ~= '' then
    local origin, wrong = read(job.retry_of)
    if wrong then
      return {'damaged', 'job ' .. job.retry_of .. ', which it repeats: ' .. wrong}
    end
    if not origin or not TERMINAL[origin.st] then
      return {'history', job.retry_of}
    end
  end
  if too_many(job.topic) then
    return {'topics', job.topic}
  end
  -- Added to the fifth of the answer where what it would rather have is given up.
  local anywhere = 0
  if job.site ~= '' then
    local lane = lane_of_site(job.topic, job.priority == 1, job.site)
    if not has_room(lane) then
      if is_firm(job.site) then
        return {'lanes', lane}
      end
      anywhere = 10
    end
  end
  if job.unique ~= '' then
    local holder, mode, ms = holder_of(job)
    if type(holder) == 'string' then
      return {'key', holder}
    elseif holder then
      local replaced = supersede(holder, job, mode, ms)
      return {'ok', holder.st, holder.ge, holder.ct, anywhere + (replaced and 2 or 1), holder.id}
    elseif job.fresh and keys_wait() > 0 then
      return {'wait', keys_wait()}
    end
  end
  local full = job.gates ~= '' and job.start == 'now' and gates().full(job)
  if full then
    return {'limit', full}
  end
  local most = job.gates ~= '' and job.start ~= 'never' and gates().crowded(job)
  if most then
    return {'length', job.queue, digits(most)}
  end
  local answer = create(job, now)
  answer[5] = anywhere
  return answer
end

-- Accepts a job, or answers why not; accepting the same job again answers the same. It is published to the lane that it
-- asks for, whoever it stands for.
local function admit(job)
  local answer = accept(job)
  if answer[1] == 'ok' and (job.priority == 1 or job.site ~= '') then
    make_known(job.topic, job.priority == 1, job.site ~= '' and answer[5] < 10 and job.site or nil)
  end
  return answer
end

-- The record of a job of which a message or an attempt is at hand; or nil and, if anything stands against making it
-- from that, what to answer. `refused()`: more that may stand against it.
local function at_hand(id, refused)
  local r, damage = read(id)
  if damage then
    return nil, {'damaged', damage}
  end
  if r then
    return r
  end
  return nil, entombed(id) and {'tombstone'} or refused and refused() or nil
end

-- The same, made where the store knows nothing of it. Answers the record, or nil and what to answer.
local function from_message(job, enqueued, refused)
  local r, against = at_hand(job.id, refused)
  if r or against then
    return r, against
  end
  job.start = 'now'
  create(job, math.min(enqueued, now))
  flush()
  return read(job.id)
end
