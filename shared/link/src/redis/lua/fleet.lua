-- The members of the fleet: who is in, in which order they joined, who coordinates.
--
-- Keys (see names.rs): K.members zset instance -> end of its lease; K.cards hash instance -> JSON;
-- K.joined zset instance -> order of joining; K.incarnations hash instance -> its incarnation; K.started hash
-- instance -> when that incarnation started; K.profiles hash instance -> digest of what it says of itself;
-- K.preferences hash instance -> its preference as a leader, where it is not 0;
-- K.reached set of the instances that have reached the view; K.seen zset instance -> last beat, K.matrix hash instance ->
-- its row; K.view hash: number, term, leader (instance/incarnation), joins, matrix, profiles, questions, run, beat,
-- amnesty.

-- Takes an instance out of the fleet.
local function drop(instance)
  call('ZREM', P .. K.members, instance)
  call('ZREM', P .. K.joined, instance)
  for _, key in ipairs({K.cards, K.incarnations, K.started, K.profiles, K.preferences}) do
    call('HDEL', P .. key, instance)
  end
end

-- Drops members whose lease ended, except during an amnesty. Answers whether there were any.
local function drop_expired(till)
  if till > now then
    return false
  end
  local ended = call('ZRANGEBYSCORE', P .. K.members, '-inf', digits(now), 'LIMIT', 0, 1000)
  for _, instance in ipairs(ended) do
    drop(instance)
  end
  return #ended > 0
end

-- Until when nobody is dropped, as far as somebody knows who does not beat.
local function spared_till(run)
  local known = call('HMGET', P .. K.view, 'run', 'amnesty')
  if run ~= '' and known[1] and known[1] ~= run then
    -- The server restarted and nobody has beaten since: the next beat begins the amnesty.
    return math.huge
  end
  return tonumber(known[2] or nil) or 0
end

-- Of the most preferred members the one that joined first; nil when nobody is in.
local function preferred()
  local known, preferences, found, most = call('HGETALL', P .. K.preferences), {}, nil, nil
  for i = 1, #known, 2 do
    preferences[known[i]] = tonumber(known[i + 1])
  end
  -- Where nobody says anything of it, the first one is all that matters.
  for _, instance in ipairs(call('ZRANGE', P .. K.joined, 0, #known > 0 and -1 or 0)) do
    local preference = preferences[instance] or 0
    if not most or preference > most then
      found, most = instance, preference
    end
  end
  return found
end

-- Chooses the coordinator (it stays who it is while it is in and nobody is more preferred) and numbers the view anew
-- when anything changed. Answers number, term and coordinator.
local function establish(changed)
  local view = call('HMGET', P .. K.view, 'number', 'term', 'leader')
  local count, term, leader = tonumber(view[1] or nil) or 0, tonumber(view[2] or nil) or 0, view[3] or ''
  local instance, incarnation = string.match(leader, '^([^/]*)/(.*)$')
  if changed or not instance or call('HGET', P .. K.incarnations, instance) ~= incarnation then
    local first = preferred()
    local chosen = first and (first .. '/' .. call('HGET', P .. K.incarnations, first)) or ''
    if chosen ~= leader then
      leader, changed = chosen, true
      term = term + (chosen ~= '' and 1 or 0)
    end
  end
  if changed then
    count = count + 1
    call('HSET', P .. K.view, 'number', digits(count), 'term', digits(term), 'leader', leader)
    call('DEL', P .. K.reached)
    nudge('view')
  end
  return count, term, leader
end
