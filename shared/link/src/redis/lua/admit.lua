-- Accepting jobs (T1, T2): used by enqueue, by finish for follow-up jobs, and by rebuild.

-- One job from the arguments.
local function read_job()
  return {
    id = arg(), topic = arg(), queue = arg(), start = arg(), start_ms = number(), max_retries = number(),
    max_crashes = number(), expiry = arg(), expiry_ms = number(), retry_of = arg(), labels = list(), gates = arg(), turn = arg(), envelope = arg(),
  }
end

local seen_topics = {}
local function known(topic)
  if not seen_topics[topic] then
    seen_topics[topic] = call('HEXISTS', P .. K.topics, topic) == 1
  end
  return seen_topics[topic]
end

local function make_known(topic)
  if not known(topic) then
    call('HSET', P .. K.topics, topic, digits(now))
    seen_topics[topic] = true
    nudge('topics')
  end
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
  make_known(job.topic)
  local r = {
    id = id, st = due and 'scheduled' or 'queued', tp = job.topic, qu = job.queue, ge = due and 0 or 1, fe = 0, at = 0, fa = 0, cr = 0,
    mr = job.max_retries, mc = job.max_crashes, ct = created, si = now, ex = expires,
    ga = job.gates ~= '' and job.gates or nil, tu = job.turn ~= '' and job.turn or nil,
  }
  if due then
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
  call('SET', P .. K.envelope .. id, job.envelope)
  if #job.labels > 0 then
    detail('HSET', P .. K.detail .. id, 'lb', cjson.encode(job.labels))
  end
  store(r)
  index(K.state .. state, due or now, id)
  index(K.open, created, id)
  index(K.topic .. job.topic, created, id)
  index(K.queue .. job.queue, created, id)
  for _, label in ipairs(job.labels) do
    index(K.label .. label, created, id)
  end
  count(state, job.topic, 1)
  count('accepted', job.topic, 1)
  return {'ok', state, r.ge, created, 0}
end

-- Accepts a job, or answers why not; accepting the same job again answers the same.
local function admit(job)
  local r, damage = read(job.id)
  if damage then
    return {'damaged', damage}
  end
  if r then
    if r.tp ~= job.topic then
      return {'taken'}
    end
    return {'ok', r.st, r.ge, r.ct, 1}
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
  if not known(job.topic) and call('HLEN', P .. K.topics) >= L.topics then
    return {'topics', job.topic}
  end
  local full = job.gates ~= '' and job.start == 'now' and gates().full(job)
  if full then
    return {'limit', full}
  end
  return create(job, now)
end

-- The record of a job of which a message or an attempt is at hand, made from that where the store knows nothing of it.
-- `refused()`: what stands against making it, if anything. Answers the record, or nil and what to answer.
local function from_message(job, enqueued, refused)
  local r, damage = read(job.id)
  if damage then
    return nil, {'damaged', damage}
  end
  if r then
    return r
  end
  local against = entombed(job.id) and {'tombstone'} or refused and refused()
  if against then
    return nil, against
  end
  job.start = 'now'
  create(job, math.min(enqueued, now))
  flush()
  return read(job.id)
end
