-- The hot record of a job, its indexes, and the steps that all transitions are made of.
--
-- The string at K.job .. id is the record's fields in a fixed order, packed with cmsgpack: one read and one write take a
-- fraction of what a hash of so many fields takes, and a record without names in it half of what one with them takes. A
-- field that holds nothing is nil. New fields go to the end: what a newer program put there is kept as it is.
--   st state            tp topic              qu queue              re reason
--   ge generation       fe fence              at attempts           fa failures
--   cr crashes          mr max_retries        mc max_crashes        no nonce
--   oi, oc instance and incarnation of the owner
--   ct created          si since: the time of entry into the state, which is the end in terminal states
--   sa started          ex expires            ra retried_as
--   wa watchers, space between; `+` after one that follows every change
--   du due (while scheduled or retrying)
--   le lease (while active)
--   ob outbox, pb when a copy was last confirmed, hi how often it was republished (while queued)
--   ga gates that it has to pass, a line each, its order first      sq its place in lines
--   wg the gate that it waits at, and the turn, a line each (while blocked)      tu turn
--   cn cancel, me message: `+` and the text
--   dx true when progress, properties or log lines are kept, which the next claim clears
--   uq unique: mode, time in ms, and key, a line each
--   pr priority: 1 urgent, -1 low
--   ln its place among those that count in the length of its queue while they wait
--   kd failures of kinds that have retries of their own: kind and count, a line each
--   ru no attempt begins after this time
--   wh where it is to run: the site
--
-- A script reads a record (`read`), changes it (`put` and the steps below) and stores it
-- (`save`); indexes and counters are collected over the whole call and written by `flush`, which every script calls
-- last.
local TERMINAL = {succeeded = true, error = true, given_up = true, stopped = true, dropped = true}
-- The field that a record needs in its state.
local NEEDS = {
  scheduled = 'du', blocked = 'wg', queued = 'st', active = 'le', retrying = 'du',
  succeeded = 'st', error = 'st', given_up = 'st', stopped = 'st', dropped = 'st',
}
local unpack_fields, pack_fields, pcall, select = cmsgpack.unpack, cmsgpack.pack, pcall, select
local JOB = P .. K.job

-- The record of fields in their order; `more` are those of a newer program.
local function named(st, tp, qu, re, ge, fe, at, fa, cr, mr, mc, no, oi, oc, ct, si, sa, ex, ra, wa, du, le, ob, pb, hi,
  ga, sq, wg, tu, cn, me, dx, uq, ln, kd, ru, pr, wh, ...)
  local r = {
    st = st, tp = tp, qu = qu, re = re, ge = ge, fe = fe, at = at, fa = fa, cr = cr, mr = mr, mc = mc, no = no,
    oi = oi, oc = oc, ct = ct, si = si, sa = sa, ex = ex, le = le, ob = ob, pb = pb,
  }
  -- What few jobs have takes no space in the others' tables.
  if ra then r.ra = ra end
  if wa then r.wa = wa end
  if du then r.du = du end
  if hi then r.hi = hi end
  if cn then r.cn = cn end
  if me then r.me = me end
  if dx then r.dx = dx end
  if ga then r.ga = ga end
  if tu then r.tu = tu end
  if sq then r.sq = sq end
  if wg then r.wg = wg end
  if uq then r.uq = uq end
  if ln then r.ln = ln end
  if kd then r.kd = kd end
  if ru then r.ru = ru end
  if pr then r.pr = pr end
  if wh then r.wh = wh end
  if select('#', ...) > 0 then
    r.more = {n = select('#', ...), ...}
  end
  return r
end

local function packed(r)
  local more = r.more
  -- Each field costs, empty ones too: most records need none of the last, and those with gates few of them.
  if not (r.cn or r.me or r.dx or r.uq or r.ln or r.kd or r.ru or r.pr or r.wh or more) then
    if not (r.ga or r.sq or r.wg or r.tu) then
      return pack_fields(r.st, r.tp, r.qu, r.re, r.ge, r.fe, r.at, r.fa, r.cr, r.mr, r.mc, r.no, r.oi, r.oc, r.ct, r.si,
        r.sa, r.ex, r.ra, r.wa, r.du, r.le, r.ob, r.pb, r.hi)
    end
    return pack_fields(r.st, r.tp, r.qu, r.re, r.ge, r.fe, r.at, r.fa, r.cr, r.mr, r.mc, r.no, r.oi, r.oc, r.ct, r.si,
      r.sa, r.ex, r.ra, r.wa, r.du, r.le, r.ob, r.pb, r.hi, r.ga, r.sq, r.wg, r.tu)
  end
  more = more or {n = 0}
  return pack_fields(r.st, r.tp, r.qu, r.re, r.ge, r.fe, r.at, r.fa, r.cr, r.mr, r.mc, r.no, r.oi, r.oc, r.ct, r.si,
    r.sa, r.ex, r.ra, r.wa, r.du, r.le, r.ob, r.pb, r.hi, r.ga, r.sq, r.wg, r.tu, r.cn, r.me, r.dx, r.uq, r.ln, r.kd,
    r.ru, r.pr, r.wh, unpack(more, 1, more.n))
end

-- Unpacks a record, quickly; raises an error when it is damaged: numbers add up and texts have a length, and what is
-- missing or of another kind does not.
local function sound(text)
  local r = named(unpack_fields(text))
  local number = r.ge + r.fe + r.at + r.fa + r.cr + r.mr + r.mc + r.ct + r.si + (r.sa or 0) + (r.ex or 0)
    + (r.du or 0) + (r.le or 0) + (r.ob or 0) + (r.pb or 0) + (r.hi or 0) + (r.sq or 0) + (r.ln or 0) + (r.ru or 0)
    + (r.pr or 0) + #r.tp
    + #r.qu
  if number ~= number or not r[NEEDS[r.st]] then
    error('damaged')
  end
  return r
end

-- What is wrong with a record.
local function damage_of(text)
  if type(text) ~= 'string' then
    return 'its record is not a string'
  end
  local whole, r = pcall(function() return named(unpack_fields(text)) end)
  if not whole then
    return 'its record cannot be unpacked'
  end
  if not NEEDS[r.st] then
    return r.st and 'its record has an unknown state' or 'its record has no state'
  end
  for name in string.gmatch('tp qu ge fe at fa cr mr mc ct si', '%S+') do
    if not r[name] then
      return 'its record has no field ' .. name
    end
  end
  for kind, names in pairs({
    string = 'st tp qu re no oi oc ra wa cn me ga tu wg uq kd wh',
    number = 'ge fe at fa cr mr mc ct si sa ex du le ob pb hi sq ln ru pr',
    boolean = 'dx',
  }) do
    for name in string.gmatch(names, '%S+') do
      if r[name] ~= nil and type(r[name]) ~= kind then
        return 'field ' .. name .. ' of its record is not a ' .. kind
      end
    end
  end
  return 'its record does not say what it waits for'
end

-- Records that `flush` writes, all in one command, by their keys.
local unwritten = {}

-- Reads and checks a record. Answers it; or nil for an unknown id; or nil and what is wrong with it.
-- Beside the fields it carries `id`, and what the indexes say of it: `was` (state) and `out` (outbox).
local function read(id)
  local key = JOB .. id
  local text = unwritten[key] or try('GET', key)
  if not text then
    return nil
  end
  local whole, r = pcall(sound, text)
  if not whole then
    return nil, damage_of(text)
  end
  r.id, r.was, r.out = id, r.st, r.ob
  return r
end

-- Changes a field; nil and false empty it.
local function put(r, name, value)
  value = value or nil
  if r[name] ~= value then
    r[name], r.changed = value, true
  end
end

-- Indexes, collected by key.
local additions, removals, earliest = {}, {}, nil

local function write_index(key)
  if removals[key] then
    call('ZREM', P .. key, unpack(removals[key]))
    removals[key] = nil
  end
  if additions[key] then
    call('ZADD', P .. key, unpack(additions[key]))
    additions[key] = nil
  end
end

local written, in_digits
local function index(key, score, id)
  -- One score is that of many: digits are dear.
  if score ~= written then
    written, in_digits = score, digits(score)
  end
  local members = additions[key]
  if not members then
    additions[key] = {in_digits, id}
    return
  end
  local n = #members
  members[n + 1], members[n + 2] = in_digits, id
  if n >= 998 then
    write_index(key)
  end
end

local function unindex(key, id)
  if additions[key] then
    -- What was added by this call may be what goes: a job that had to wait and was let through at once.
    write_index(key)
  end
  local members = removals[key]
  if not members then
    removals[key] = {id}
    return
  end
  local n = #members + 1
  members[n] = id
  if n >= 1000 then
    write_index(key)
  end
end

-- Lets a job be found by a label or by a field of its payload (a term of indexed.rs); without a score, not any more.
local function found_by(term, topic, id, score)
  local path, kind, value
  if string.byte(term) == 1 then
    path, kind, value = string.match(term, '^\1([^\1]*)\1(.)(.*)$')
    call('HINCRBY', P .. K.fields, path .. '\n' .. topic, score and 1 or -1)
  end
  if kind == 'n' then
    if score then
      call('ZADD', P .. K.numbers .. path, value, id)
    else
      call('ZREM', P .. K.numbers .. path, id)
    end
  elseif kind == 's' then
    local member = value .. '\0' .. id
    if score then
      call('ZADD', P .. K.texts .. path, 0, member)
    else
      call('ZREM', P .. K.texts .. path, member)
    end
  end
  if kind == '-' then
    return
  elseif score then
    index(K.label .. term, score, id)
  else
    unindex(K.label .. term, id)
  end
end

-- The own limit of the queue that a job is in, where the queue was configured.
local function own_gate(gates_of, queue)
  for gate in string.gmatch(gates_of or '', '[^\n]+') do
    local of, key = string.match(gate, '^l:queue%.([^:]*):(.*)$')
    if of and key == queue or key == '' and of == queue then
      return gate
    end
  end
end

-- How many queued jobs are to run at a site, by topic and site; written by `flush`.
local queued_at
local function count_at(r, by)
  queued_at = queued_at or {}
  local place = r.tp .. ' ' .. r.wh
  queued_at[place] = (queued_at[place] or 0) + by
end

-- Gates (gates.lua), made when they are first needed: most jobs ask for none.
-- `handed`: jobs that were let through, for the caller to publish, where the script answers with them.
local make_gates, made, handed
local function gates()
  made = made or make_gates()
  return made
end

local pauses_exist
local function anything_paused()
  if pauses_exist == nil then
    pauses_exist = call('EXISTS', P .. K.pauses) == 1
  end
  return pauses_exist
end

-- Gates that are to be looked at by a later promotion, and when; written by `flush`.
local wakes = {}
local function wake_at(gate, at)
  local known = wakes[gate] or tonumber(call('ZSCORE', P .. K.wake, gate) or nil)
  if not known or known > at then
    wakes[gate] = at
    earliest = math.min(earliest or at, at)
  end
end

-- When there is something to promote: a job that is due, or a gate that may be open by then.
local function first_due()
  local head = call('ZRANGE', P .. K.wake, 0, 0, 'WITHSCORES')
  local first = tonumber(head[2] or nil)
  for _, state in ipairs({'scheduled', 'retrying'}) do
    local head = call('ZRANGE', P .. K.state .. state, 0, 0, 'WITHSCORES')
    if head[2] and (not first or tonumber(head[2]) < first) then
      first = tonumber(head[2])
    end
  end
  return first
end

local function write_records()
  local pairs_of, n = {}, 0
  for key, text in pairs(unwritten) do
    pairs_of[n + 1], pairs_of[n + 2] = key, text
    n = n + 2
    if n == 1000 then
      call('MSET', unpack(pairs_of))
      pairs_of, n = {}, 0
    end
  end
  if n > 0 then
    call('MSET', unpack(pairs_of))
  end
  unwritten = {}
end

local function flush()
  if made then
    made.open()
  end
  write_records()
  if earliest then
    local first = first_due()
    if not first or earliest < first then
      nudge('due')
    end
    earliest = nil
  end
  for gate, at in pairs(wakes) do
    call('ZADD', P .. K.wake, digits(at), gate)
    wakes[gate] = nil
  end
  for key in pairs(removals) do
    write_index(key)
  end
  for key in pairs(additions) do
    write_index(key)
  end
  for place, by in pairs(queued_at or {}) do
    if by ~= 0 then
      call('HINCRBY', P .. K.queued_at, place, by)
    end
  end
  queued_at = nil
  write_counts()
end

local function expirable(state)
  return state == 'queued' or state == 'scheduled' or state == 'blocked'
end

-- Has the record written.
local function store(r)
  unwritten[JOB .. r.id] = packed(r)
  r.changed = nil
end

-- The key of the lock of a unique job, its mode and its time.
local function lock_of(topic, unique)
  local mode, ms, key = string.match(unique, '^([^\n]*)\n(%d+)\n(.*)$')
  return P .. K.unique .. topic .. '\n' .. key, mode, tonumber(ms)
end

-- A unique job changes its state: its key may be free by that.
local function free_key(r, state)
  local lock, mode = lock_of(r.tp, r.uq)
  local over = TERMINAL[state] or state == 'active' and mode ~= 'until_finished'
  if over and mode ~= 'period' and try('GET', lock) == r.id then
    call('DEL', lock)
  end
end

-- Tells those who wait for a job's end; with `changed`, those who follow it.
local function tell(r, changed)
  for watcher, follows in string.gmatch(r.wa, '([^%s+]+)(%+?)') do
    if not changed then
      call('PUBLISH', P .. K.outcomes .. watcher, r.id)
    elseif follows == '+' then
      call('PUBLISH', P .. K.outcomes .. watcher, '~' .. r.id)
    end
  end
end

-- Has written what changed. A record is complete and checked by now, so that nothing here can fail halfway.
local function save(r)
  if not r.changed then
    return
  end
  local was, state = r.was, r.st
  if state ~= was and (r.ga or r.wg) then
    gates().leave(r, was, state)
  end
  if state ~= was and r.uq then
    free_key(r, state)
  end
  store(r)
  if state ~= was then
    local score = r.si
    if state == 'active' then
      score = r.le
    elseif state == 'scheduled' or state == 'retrying' then
      score = r.du
      earliest = math.min(earliest or score, score)
    end
    unindex(K.state .. was, r.id)
    index(K.state .. state, score, r.id)
    local place = place_of_job(r.tp, r.qu)
    count(was, place, -1)
    count(state, place, 1)
    if r.wh and (was == 'queued' or state == 'queued') then
      count_at(r, state == 'queued' and 1 or -1)
    end
    if r.ex and expirable(was) ~= expirable(state) then
      if expirable(state) then
        index(K.expiry, r.ex, r.id)
      else
        unindex(K.expiry, r.id)
      end
    end
    if TERMINAL[state] then
      unindex(K.open, r.id)
      if state ~= 'succeeded' and state ~= 'dropped' then
        count_other(place, L.slot_cancelled)
      end
    end
    if r.wa then
      tell(r, not TERMINAL[state])
    end
    r.was = state
  end
  if r.ob then
    if r.ob ~= r.out then
      index(K.outbox, r.ob, r.id)
    end
  elseif r.out then
    unindex(K.outbox, r.id)
  end
  r.out = r.ob
end

-- Writes a detail of a job, and answers what the server does; a key of another type in its place holds nothing that could be used.
local function detail(command, key, ...)
  local answer = try(command, key, ...)
  if type(answer) == 'table' and answer.err then
    call('DEL', key)
    answer = call(command, key, ...)
  end
  return answer
end

-- The steps of the state machine, as in transition.rs.
local function finish_with(r, state, reason)
  put(r, 'st', state)
  r.re, r.si, r.du, r.le, r.ob, r.pb, r.hi = reason or nil, now, nil, nil, nil, nil, nil
end

-- Keeps what happened to a job without a process that tells it, for whoever does (untold), where somebody listens.
local listened
local function keep_untold(r, kind)
  if listened == nil then
    listened = false
    local known = call('HGETALL', P .. K.interests)
    for i = 1, #known, 2 do
      listened = listened or (string.sub(known[i], 1, 4) == 'job ' and tonumber(known[i + 1]) > now)
    end
  end
  if listened then
    call('RPUSH', P .. K.untold, digits(now) .. ' ' .. kind .. ' ' .. r.id)
    call('LTRIM', P .. K.untold, -L.untold, -1)
  end
end

-- Ends a job that nobody has, and that no caller speaks of.
local function end_untold(r, state, reason)
  finish_with(r, state, reason)
  keep_untold(r, state == 'dropped' and 'removed' or 'cancelled')
end

local function become_queued(r, reason, outbox_ms)
  put(r, 'st', 'queued')
  put(r, 're', reason)
  put(r, 'ge', r.ge + 1)
  put(r, 'si', now)
  r.du, r.le, r.pb, r.hi = nil, nil, nil, nil
  put(r, 'ob', now + outbox_ms)
end

-- A job that is to be queued: it waits in the store instead where a gate does not let it pass.
local function hold_back(r)
  if r.ga or anything_paused() then
    gates().enter(r)
  end
end

local function enter_queued(r, reason, outbox_ms)
  become_queued(r, reason, outbox_ms)
  hold_back(r)
end

local function wait_until(r, state, reason, delay_ms)
  put(r, 'st', state)
  put(r, 're', reason)
  put(r, 'si', now)
  put(r, 'du', now + delay_ms)
  r.le, r.ob = nil, nil
end

local function take_away(r)
  put(r, 'fe', math.max(r.fe + 1, now_us))
end

-- Counts a failure that has retries of its own. Answers how often it failed so; nil where too many kinds are counted.
local function add_kind(r, kind)
  local lines, kinds, count = {}, 0, nil
  for name, number in string.gmatch(r.kd or '', '(%S+) (%d+)') do
    kinds = kinds + 1
    if name == kind then
      count = tonumber(number) + 1
      number = digits(count)
    end
    lines[kinds] = name .. ' ' .. number
  end
  if not count then
    if kinds >= L.kinds then
      return nil
    end
    count = 1
    lines[kinds + 1] = kind .. ' 1'
  end
  put(r, 'kd', table.concat(lines, '\n'))
  return count
end

-- Keeps how an attempt ended. `said` is `+` and a text, or false; `more` is further JSON, with its comma.
local function remember(r, outcome, said, more)
  local past = '{"number":' .. digits(r.at) .. ',"instance":' .. cjson.encode(r.oi or '')
    .. ',"started":' .. digits(r.sa or now) .. ',"ended":' .. digits(now)
    .. ',"outcome":' .. cjson.encode(outcome)
  if said then
    past = past .. ',"error":' .. cjson.encode(string.sub(said, 2))
  end
  detail('RPUSH', P .. K.attempts .. r.id, past .. (more or '') .. '}')
  call('LTRIM', P .. K.attempts .. r.id, -L.attempts, -1)
end

local function expired(r)
  return r.ex and r.ex <= now
end

-- The answer of a claim that runs.
local function run(r)
  return {'run', r.fe, r.at, r.fa, r.cr, r.mr >= 0 and r.fa + 1 > r.mr and 1 or 0, r.kd}
end

-- Puts the current attempt under a lease.
local function lease_to(r, instance, incarnation, nonce, lease_ms)
  r.st, r.re, r.me, r.du, r.ob, r.pb, r.hi = 'active', nil, nil, nil, nil, nil, nil
  r.si, r.sa, r.le = now, now, now + lease_ms
  r.oi, r.oc, r.no = instance, incarnation, nonce ~= '' and nonce or nil
  r.changed = true
end

-- Keeps the end of what the attempt before this one reported, under its number, and lets go of the oldest.
local function keep_report(r)
  local number, key = r.at - 1, P .. K.past .. r.id
  local progress, lines = try('HGET', P .. K.detail .. r.id, 'p'), try('LRANGE', P .. K.log .. r.id, -L.past_log_lines, -1)
  if lines.err then
    lines = {}
  end
  local from, bytes = #lines + 1, 0
  while from > 1 and bytes + #lines[from - 1] <= L.past_log_bytes do
    from = from - 1
    bytes = bytes + #lines[from]
  end
  progress = type(progress) == 'string' and ',"progress":' .. progress or ''
  if from <= #lines or progress ~= '' then
    detail('HSET', key, digits(number), '{"log":[' .. table.concat(lines, ',', from) .. ']' .. progress .. '}')
  end
  if number > L.past_reports then
    local known = try('HKEYS', key)
    for i = 1, #known do
      if (tonumber(known[i]) or 0) + L.past_reports <= number then
        call('HDEL', key, known[i])
      end
    end
  end
end

local function claim(r, instance, incarnation, alone, nonce, generation, floor, lease_ms)
  local state = r.st
  if TERMINAL[state] then
    return {'ended', state}
  end
  if generation ~= 0 and generation < r.ge then
    return {'outdated', state == 'queued' and r.ob and 0 or 1}
  end
  if state == 'active' then
    if r.oi == instance and r.oc == incarnation and (r.no or '') == nonce then
      return run(r)
    end
    return {'busy', math.max(r.le - now, 0)}
  end
  if state ~= 'queued' then
    return {'waiting', state, r.du and math.max(r.du - now, 0) or -1}
  end
  if expired(r) then
    end_untold(r, 'dropped', 'expired')
    save(r)
    return {'ended', 'dropped'}
  end
  if r.ru and r.ru < now then
    end_untold(r, 'given_up', 'retry_time_over')
    save(r)
    return {'ended', 'given_up'}
  end
  if (r.ga or anything_paused()) and gates().stop(r) then
    save(r)
    return {'waiting', 'blocked', -1}
  end
  if r.cr >= L.suspect_crashes and not alone then
    return {'elsewhere', r.cr}
  end
  r.fe, r.ge, r.at = math.max(r.fe + 1, floor + 1, now_us), math.max(r.ge, generation), r.at + 1
  count_start(place_of_job(r.tp, r.qu), now - r.si)
  lease_to(r, instance, incarnation, nonce, lease_ms)
  if r.dx then
    put(r, 'dx', false)
    keep_report(r)
    local labels = try('HGET', P .. K.detail .. r.id, 'lb')
    call('DEL', P .. K.detail .. r.id, P .. K.log .. r.id)
    if type(labels) == 'string' then
      call('HSET', P .. K.detail .. r.id, 'lb', labels)
    end
  end
  save(r)
  return run(r)
end

-- What an attempt reports: progress, properties, log. Read from the arguments apart from being written, so that a
-- refused item does not shift those behind it.
local function read_report()
  local report = {progress = arg(), properties = list(), log = {}}
  local lines = number()
  if lines > 0 then
    report.keep, report.dropped = number(), number()
    for i = 1, lines do
      report.log[i] = arg()
    end
  end
  return report
end

-- Of the log the newest lines are kept, as many as the report says.
local function write_report(r, report)
  local fields, log = report.properties, report.log
  if report.progress ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'p', report.progress
  end
  if #fields > 0 then
    detail('HSET', P .. K.detail .. r.id, unpack(fields))
  end
  if #log > 0 then
    local stamp = '{"at":' .. digits(now) .. ','
    for i = 1, #log do
      log[i] = stamp .. log[i]
    end
    local dropped = math.max(detail('RPUSH', P .. K.log .. r.id, unpack(log)) - report.keep, 0) + report.dropped
    if dropped > 0 then
      call('LTRIM', P .. K.log .. r.id, -report.keep, -1)
      detail('HINCRBY', P .. K.detail .. r.id, 'ld', dropped)
    end
  end
  if #fields > 0 or #log > 0 then
    put(r, 'dx', true)
    if r.wa then
      tell(r, true)
    end
  end
end

-- When a topic was first seen, and `+` behind it where it has a high lane; false for one that is not known.
local seen_topics
local function known(topic)
  seen_topics = seen_topics or {}
  if not seen_topics[topic] then
    seen_topics[topic] = call('HGET', P .. K.topics, topic)
  end
  return seen_topics[topic]
end

-- When a lane of a site was last made use of, ms, to the minute; false for one that is not known.
local seen_sites
local function site_seen(lane)
  seen_sites = seen_sites or {}
  if seen_sites[lane] == nil then
    seen_sites[lane] = tonumber(call('HGET', P .. K.sites, lane) or nil) or false
  end
  return seen_sites[lane]
end

-- A lane of a site, as it is spelled.
local function lane_of_site(topic, high, site)
  return topic .. (high and '+ ' or ' ') .. site
end

-- Whether one more lane of a site may be.
local function has_room(lane)
  return site_seen(lane) or call('HLEN', P .. K.sites) < L.sites
end

-- Whether a job runs at a site or not at all.
local function is_firm(site)
  return site == 'leader' or string.sub(site, 1, 6) == 'label:'
end

-- Whoever consumes it hears of a lane beside the first one before anything is published there.
local function make_known(topic, high, site)
  if site then
    local lane = lane_of_site(topic, high, site)
    local seen = site_seen(lane)
    if not seen or seen + 60000 < now then
      call('HSET', P .. K.sites, lane, digits(now))
      seen_sites[lane] = now
      if not seen then
        call('HINCRBY', P .. K.shard, 'lanes', 1)
        nudge('topics')
      end
    end
    high = false
  end
  local before = known(topic)
  local after = before or digits(now)
  if high and string.byte(after, -1) ~= 43 then
    after = after .. '+'
  end
  if after ~= before then
    call('HSET', P .. K.topics, topic, after)
    call('HINCRBY', P .. K.shard, 'lanes', 1)
    seen_topics[topic] = after
    nudge('topics')
  end
end

-- What is needed to publish a job, and its size.
local function outgoing(r)
  if r.pr == 1 or r.wh then
    -- A record may be older than high lanes are, and somebody may have let go of the lane of a site.
    make_known(r.tp, r.pr == 1, r.wh)
  end
  local envelope = try('GET', P .. K.envelope .. r.id)
  if type(envelope) ~= 'string' then
    envelope = ''
  end
  return {r.id, r.tp, r.ge, r.fe, r.ct, envelope, r.pr or 0, r.wh}, #envelope
end

-- Takes an index entry out of the way whose record cannot be moved by it: gone, or damaged, or elsewhere by now.
local function shelve(key, id, damage)
  if damage then
    call('ZADD', P .. key, 'XX', digits(now + L.shelve_ms), id)
  else
    call('ZREM', P .. key, id)
  end
end

-- Tombstones.
local function bucket(back)
  return P .. K.tombstones .. digits(math.floor(now / L.tombstone_bucket_ms) - back)
end

local buckets
local function entombed(id)
  if not buckets then
    buckets = {}
    for back = 0, L.tombstone_buckets - 1 do
      if call('EXISTS', bucket(back)) == 1 then
        buckets[#buckets + 1] = bucket(back)
      end
    end
  end
  for _, key in ipairs(buckets) do
    if call('SISMEMBER', key, id) == 1 then
      return true
    end
  end
  return false
end

-- Deletes every trace of an ended job but its tombstone. `filed`: the index of K.kept that the caller cares for.
local keeping
local function purge(r, filed)
  flush()
  keeping = keeping or call('GET', P .. K.keeping) or ''
  if filed then
    call('ZREM', filed, r.id)
  elseif keeping ~= '' then
    for name in string.gmatch(keeping .. '\n', '([^\n]*)\n') do
      call('ZREM', P .. K.kept .. r.st .. ' ' .. name, r.id)
    end
    call('ZREM', P .. K.kept .. r.st .. ' ', r.id)
  end
  local labels = try('HGET', P .. K.detail .. r.id, 'lb')
  if type(labels) == 'string' then
    for _, term in ipairs(cjson.decode(labels)) do
      found_by(term, r.tp, r.id)
    end
  end
  call('UNLINK', P .. K.job .. r.id, P .. K.envelope .. r.id, P .. K.result .. r.id, P .. K.detail .. r.id,
    P .. K.log .. r.id, P .. K.attempts .. r.id)
  if r.at > 1 then
    call('UNLINK', P .. K.past .. r.id)
  end
  unindex(K.state .. r.st, r.id)
  unindex(K.topic .. r.tp, r.id)
  unindex(K.queue .. r.qu, r.id)
  local place = place_of_job(r.tp, r.qu)
  count(r.st, place, -1)
  count('forgotten_' .. r.st, place, 1)
  call('SADD', bucket(0), r.id)
  call('PEXPIREAT', bucket(0), digits((math.floor(now / L.tombstone_bucket_ms) + L.tombstone_buckets) * L.tombstone_bucket_ms))
  buckets = nil
  call('HINCRBY', P .. K.shard, 'purged', 1)
end
