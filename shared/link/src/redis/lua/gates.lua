-- Gates: orders, limits and pauses, which a job has to pass before it is queued.
--
-- A gate is `o:<queue>:<key>` (an order: its one holder keeps it until it has ended), `l:<limit>:<key>` (a limit: those
-- it let through hold it while they are queued or active) or `p:<what>` (a pause). A job takes its order first and keeps
-- it; of its limits it takes all or none, so that nobody who waits holds what another one waits for. A blocked job waits
-- at one gate, in the line of its turn: whoever leaves a gate wakes it, and what was woken is looked at before the
-- script ends (`open`), up to a bound; the rest at the next promotion (K.wake).
--   K.holders .. gate     zset  who passed and has not left; when, ms
--   K.unclaimed .. gate   zset  whom a rate let through and nobody claimed yet; when, ms
--   K.turns .. gate       zset  turns that have waiters; the one that was let through longest ago has the least score
--   K.waiters .. gate and turn, a line each   zset   who waits; its place, less what its priority is worth
--   K.tat .. gate         string  when the bucket of a rate is full again, us
--   K.length .. gate      zset  of the own limit of a queue with a longest length: its jobs that wait; their place, by
--                         when they were accepted
-- The line of an order has one turn, ''; a turn `skip:<place>:<job>` before it drops those up to that place first.
make_gates = function()
  local G = {}
  local waking, woken, policies, place, released = {}, {}, {}, nil, false
  local HOLDS = {queued = true, active = true}
  local at_once = digits(now)

  -- Numbers that only grow: places in lines, and the order of turns.
  local function next_place()
    place = math.max((place or tonumber(call('HGET', P .. K.shard, 'place') or nil) or 0) + 1, now_us)
    return place
  end

  local function policy_of(gate)
    local name = string.match(gate, '^l:([^:]*):')
    if policies[name] == nil then
      local text = call('HGET', P .. K.limits, name)
      policies[name] = text and cjson.decode(text) or false
    end
    return policies[name]
  end

  -- Gates by the text of a record: jobs of one call share it, and a job is asked for it several times.
  local NONE, read_before = {limits = {}}, {}
  local function gates_of(r)
    local text = r.ga
    if not text then
      return NONE
    end
    local found = read_before[text]
    if not found then
      found = {order = string.match(text, '^o:[^\n]*'), limits = {}}
      for line in string.gmatch(text, '[^\n]+') do
        if string.sub(line, 1, 2) == 'l:' then
          found.limits[#found.limits + 1] = line
        end
      end
      read_before[text] = found
    end
    return found
  end

  local function order_of(r)
    return gates_of(r).order
  end

  local function limits_of(r)
    return gates_of(r).limits
  end

  -- How many passed a gate and have not left: counted here from the first question to the end of `open`.
  local inside = {}
  local function count_inside(gate)
    inside[gate] = inside[gate] or call('ZCARD', P .. K.holders .. gate)
    return inside[gate]
  end

  local function go_in(gate, id)
    local new = call('ZADD', P .. K.holders .. gate, at_once, id)
    inside[gate] = inside[gate] and inside[gate] + new
  end

  -- Answers 1 where it was inside.
  local function go_out(gate, id)
    local left = call('ZREM', P .. K.holders .. gate, id)
    inside[gate] = inside[gate] and inside[gate] - left
    return left
  end

  -- Whether a rate let anybody through who was not claimed yet, for as long.
  local unclaimed = {}
  local function any_unclaimed(gate)
    if unclaimed[gate] == nil then
      unclaimed[gate] = call('EXISTS', P .. K.unclaimed .. gate) == 1
    end
    return unclaimed[gate]
  end

  -- Lets a gate be looked at before the script ends.
  function G.wake(gate)
    if not woken[gate] then
      woken[gate], waking[#waking + 1] = true, gate
    end
  end

  -- The pause that holds a job, and until when.
  local function pause_of(r)
    if not anything_paused() then
      return nil
    end
    local order = order_of(r)
    local names = {'all', 'queue:' .. r.qu, 'topic:' .. r.tp, order and 'key:' .. string.sub(order, 3) or nil}
    for i, text in ipairs(call('HMGET', P .. K.pauses, unpack(names))) do
      local till = text and cjson.decode(text)['until']
      if text and not (till and till <= now) then
        return 'p:' .. names[i], till
      end
    end
  end

  -- From when on a bucket has a token, us.
  local function token_at(gate, rate)
    local interval = math.max(math.floor(rate.per_ms * 1000 / rate.count), 1)
    local tat = tonumber(call('GET', P .. K.tat .. gate) or nil) or 0
    return tat - interval * (rate.count - 1), tat, interval
  end

  -- Whether a limit does not let a job pass, and when it may. `from`: the gate whose first in line it is.
  local function closed(r, gate, policy, from)
    local held = policy.max and HOLDS[r.was] and call('ZSCORE', P .. K.holders .. gate, r.id)
    if policy.max and not held and count_inside(gate) >= policy.max then
      return true, now + L.grant_ms
    end
    if policy.rate then
      if call('ZCARD', P .. K.unclaimed .. gate) >= policy.rate.count then
        return true
      end
      local at = token_at(gate, policy.rate)
      if at > now_us then
        return true, math.ceil(at / 1000)
      end
    end
    if not held and from ~= gate and call('EXISTS', P .. K.turns .. gate) == 1 then
      G.wake(gate)
      return true
    end
    return false
  end

  -- What does not let a job pass: the gate, the reason, and when it may. Takes the order of a job that is next in it.
  local function refusal(r, from)
    local order = order_of(r)
    if order then
      local holder = call('ZRANGE', P .. K.holders .. order, 0, 0)[1]
      if holder ~= r.id then
        if holder then
          return order, 'order'
        elseif from ~= order and call('EXISTS', P .. K.turns .. order) == 1 then
          G.wake(order)
          return order, 'order'
        end
        go_in(order, r.id)
      end
    end
    local pause, till = pause_of(r)
    if pause then
      return pause, 'paused', till
    end
    for _, gate in ipairs(limits_of(r)) do
      local policy = policy_of(gate)
      if policy then
        local shut, at = closed(r, gate, policy, from)
        if shut then
          return gate, 'limit', at
        end
      end
    end
  end

  -- Counts a job at its limits. `running`: nobody asked, it runs already. `from`: the gate that it waited at.
  local function take(r, running, from)
    for _, gate in ipairs(limits_of(r)) do
      local policy = policy_of(gate)
      if policy and (policy.max or policy.rate) then
        if policy.max then
          go_in(gate, r.id)
        end
        if policy.rate and not running then
          local _, tat, interval = token_at(gate, policy.rate)
          tat = math.max(tat, now_us) + interval
          call('SET', P .. K.tat .. gate, digits(tat), 'PX', digits(math.ceil((tat - now_us) / 1000) + 1000))
          call('ZADD', P .. K.unclaimed .. gate, at_once, r.id)
          unclaimed[gate] = true
        end
        if gate ~= from then
          call('ZADD', P .. K.gates, 0, gate)
        end
      end
    end
  end

  local function wait_at(r, gate, reason, at)
    if not r.sq then
      put(r, 'sq', next_place())
    end
    put(r, 'st', 'blocked')
    r.re, r.si, r.du, r.le, r.ob, r.pb, r.hi = reason, now, nil, nil, nil, nil, nil
    local turn = string.sub(gate, 1, 1) == 'l' and r.tu or ''
    put(r, 'wg', gate .. '\n' .. turn)
    -- A class of priority is worth so much waiting; an order stays in its order.
    local worth = string.sub(gate, 1, 1) ~= 'o' and (r.pr or 0) * L.ageing_ms * 1000 or 0
    call('ZADD', P .. K.waiters .. r.wg, digits(r.sq - worth), r.id)
    call('ZADD', P .. K.turns .. gate, 'NX', digits(next_place()), turn)
    if string.sub(gate, 1, 1) == 'l' then
      call('ZADD', P .. K.gates, 0, gate)
    end
    if at then
      wake_at(gate, at)
    end
  end

  -- A record may carry `lonely`: whether nobody waits behind it, where that is known already.
  local function unwait(r)
    local gate, turn = string.match(r.wg, '^([^\n]*)\n(.*)$')
    call('ZREM', P .. K.waiters .. r.wg, r.id)
    local lonely = r.lonely
    if lonely == nil then
      lonely = call('EXISTS', P .. K.waiters .. r.wg) == 0
    end
    if lonely then
      call('ZREM', P .. K.turns .. gate, turn)
    end
    put(r, 'wg', nil)
  end

  -- Drops those that wait for a limit, because a newer job takes their place.
  local function replace(gate)
    for _, turn in ipairs(call('ZRANGE', P .. K.turns .. gate, 0, L.releases - 1)) do
      for _, id in ipairs(call('ZRANGE', P .. K.waiters .. gate .. '\n' .. turn, 0, L.releases - 1)) do
        local r = read(id)
        if r and r.st == 'blocked' then
          end_untold(r, 'dropped', 'replaced')
          save(r)
        end
      end
    end
  end

  -- A job that was made queued: lets it pass, or makes it wait.
  function G.enter(r)
    local gate, reason, at = refusal(r)
    if not gate then
      take(r)
      return
    end
    if not r.was and reason == 'limit' and policy_of(gate).over == 'replace' then
      replace(gate)
    end
    wait_at(r, gate, reason, at)
  end

  -- A queued job that is about to be claimed: whether a pause, or a limit that was set after it had passed, takes it
  -- back. Otherwise it is counted where it was not yet.
  function G.stop(r)
    local gate, till = pause_of(r)
    if gate then
      wait_at(r, gate, 'paused', till)
      return true
    end
    for _, limit in ipairs(limits_of(r)) do
      local policy = policy_of(limit)
      if policy and policy.max and not call('ZSCORE', P .. K.holders .. limit, r.id) then
        if count_inside(limit) >= policy.max then
          wait_at(r, limit, 'limit', now + L.grant_ms)
          return true
        end
        go_in(limit, r.id)
        call('ZADD', P .. K.gates, 0, limit)
      end
    end
    return false
  end

  -- The limit that refuses a new job, if one does.
  function G.full(job)
    for _, gate in ipairs(limits_of({ga = job.gates})) do
      local policy = policy_of(gate)
      if policy and policy.over == 'refuse' and closed(job, gate, policy) then
        return string.match(gate, '^l:([^:]*):')
      end
    end
  end

  -- A new job counts in the length of its queue, where that has a bound.
  function G.count_in(r)
    local gate = own_gate(r.ga, r.qu)
    local policy = gate and policy_of(gate)
    if policy and policy.length then
      r.ln = next_place()
      call('ZADD', P .. K.length .. gate, digits(r.ln), r.id)
    end
  end

  -- How many jobs the queue of a new job may hold, where it holds as many and none of the oldest makes room.
  function G.crowded(job)
    local gate = own_gate(job.gates, job.queue)
    local policy = gate and policy_of(gate)
    local length = policy and policy.length
    if not length then
      return nil
    end
    local key = P .. K.length .. gate
    -- More are over where the bound was lowered; some go with each new one.
    local over = math.min(call('ZCARD', key) - length.max + 1, L.releases)
    if over <= 0 then
      return nil
    end
    for _, id in ipairs(call('ZRANGE', key, 0, over - 1)) do
      local r, damage = read(id)
      if r and length.full == 'drop_oldest' then
        end_untold(r, 'dropped', 'displaced')
        save(r)
      elseif not r and not damage then
        call('ZREM', key, id)
      else
        return length.max
      end
    end
  end

  -- A job failed for good: what its queue says of its order.
  local function after_failure(r, order)
    local gate = own_gate(r.ga, r.qu)
    local policy = gate and policy_of(gate)
    local todo = policy and policy.on_failure
    if todo == 'skip' then
      call('ZADD', P .. K.turns .. order, 0, 'skip:' .. digits(next_place()) .. ':' .. r.id)
    elseif todo == 'halt' then
      local queue, key = string.match(order, '^o:([^:]*):(.*)$')
      local what = key == '' and 'queue:' .. queue or 'key:' .. queue .. ':' .. key
      if call('HLEN', P .. K.pauses) >= L.pauses then
        what = 'queue:' .. queue
      end
      local before = call('HGET', P .. K.pauses, what)
      if not before or cjson.decode(before)['until'] then
        local why = 'job ' .. r.id .. ' ended as ' .. r.st .. '; see why, then resume'
        call('HSET', P .. K.pauses, what, cjson.encode({by = 'longshore', why = why, since = now}))
      end
      pauses_exist = true
    end
  end

  -- A job changes its state: what it leaves may let others pass.
  function G.leave(r, was, state)
    if r.wg and state ~= 'blocked' then
      if TERMINAL[state] then
        G.wake(string.match(r.wg, '^[^\n]*'))
      end
      unwait(r)
    end
    local order = order_of(r)
    if order and TERMINAL[state] and go_out(order, r.id) == 1 then
      if state == 'error' or state == 'given_up' then
        after_failure(r, order)
      end
      G.wake(order)
    end
    if r.ln then
      local key, waits = P .. K.length .. own_gate(r.ga, r.qu), state ~= 'active' and not TERMINAL[state]
      if not waits then
        call('ZREM', key, r.id)
      elseif was == 'active' then
        call('ZADD', key, digits(r.ln), r.id)
      end
      if TERMINAL[state] then
        r.ln = nil
      end
    end
    for _, gate in ipairs(limits_of(r)) do
      local left = was == 'queued' and any_unclaimed(gate) and call('ZREM', P .. K.unclaimed .. gate, r.id) or 0
      if HOLDS[was] and not HOLDS[state] then
        left = left + go_out(gate, r.id)
      end
      if left > 0 then
        G.wake(gate)
      end
    end
    if state == 'active' and was ~= 'queued' then
      if order then
        go_in(order, r.id)
      end
      take(r, true)
    end
  end

  -- Takes a limit back from a job that it let through long ago and that no instance takes, for one of another topic.
  local function take_back(gate, topic)
    local holders = call('ZRANGE', P .. K.holders .. gate, 0, L.releases - 1, 'WITHSCORES')
    for i = 1, #holders, 2 do
      if tonumber(holders[i + 1]) + L.grant_ms > now then
        return false
      end
      local r = read(holders[i])
      if not r or not HOLDS[r.st] then
        go_out(gate, holders[i])
        return true
      elseif r.st == 'queued' and r.tp ~= topic then
        put(r, 'sq', nil)
        wait_at(r, gate, 'limit')
        save(r)
        return true
      end
    end
    return false
  end

  -- Whether nobody passes behind the one that was let through just now, as the record of the next one would tell too.
  -- `last`: nobody else waits.
  local function is_shut(gate, last)
    local kind = string.sub(gate, 1, 1)
    if kind ~= 'l' then
      return last or kind == 'o'
    end
    local policy = policy_of(gate)
    if not policy or not (policy.max or policy.rate) then
      return false
    end
    if last or not policy.max or count_inside(gate) < policy.max then
      return last
    end
    local oldest = call('ZRANGE', P .. K.holders .. gate, 0, 0, 'WITHSCORES')[2]
    if not oldest or tonumber(oldest) + L.grant_ms <= now then
      return false
    end
    wake_at(gate, now + L.grant_ms)
    return true
  end

  -- How many may pass, as far as that is known: so many of a line are read, and one more.
  local function room_of(gate, left)
    local policy = string.sub(gate, 1, 1) == 'l' and policy_of(gate)
    if not policy or not policy.max or policy.rate then
      return 1
    end
    return math.max(math.min(policy.max - count_inside(gate), left), 1)
  end

  -- Gives a job that was let through to the caller to publish, where there is room in the answer; else the relay has it.
  local function hand_over(r)
    if not handed or handed.bytes >= L.batch_bytes then
      released = true
      return
    end
    local size
    handed[#handed + 1], size = outgoing(r)
    handed.bytes = handed.bytes + size
    put(r, 'ob', now + L.outbox_grace_ms)
  end

  -- Lets pass who can, first of the least recent turn first. Answers what is left of the bound.
  local function pass(gate, left)
    local is_order = string.sub(gate, 1, 1) == 'o'
    local turns, line, waiting, at
    while true do
      -- What was read stays so while one after the other leaves the line of the first turn.
      turns = turns or call('ZRANGE', P .. K.turns .. gate, 0, 1)
      local turn = turns[1]
      if not turn then
        if call('EXISTS', P .. K.holders .. gate, P .. K.unclaimed .. gate) == 0 then
          call('ZREM', P .. K.gates, gate)
        end
        return left
      end
      if left <= 0 then
        wake_at(gate, now)
        return 0
      end
      local upto, failed
      if is_order then
        upto, failed = string.match(turn, '^skip:(%d+):(.*)$')
      end
      if not waiting then
        line, at = gate .. '\n' .. (upto and '' or turn), 1
        waiting = call('ZRANGE', P .. K.waiters .. line, 0, room_of(gate, left), 'WITHSCORES')
      end
      local id = waiting[at]
      local r = id and read(id)
      local stays = false
      if upto and (not id or tonumber(waiting[at + 1]) > tonumber(upto)) then
        call('ZREM', P .. K.turns .. gate, turn)
      elseif not r or r.st ~= 'blocked' or r.wg ~= line then
        if id then
          call('ZREM', P .. K.waiters .. line, id)
        end
        if call('EXISTS', P .. K.waiters .. line) == 0 then
          call('ZREM', P .. K.turns .. gate, turn)
        end
      elseif upto then
        put(r, 'me', '+job ' .. failed .. ' before it in its order failed for good')
        end_untold(r, 'dropped', 'skipped')
        save(r)
        stays = true
      elseif expired(r) then
        end_untold(r, 'dropped', 'expired')
        save(r)
        stays = true
      else
        local other, reason, when = refusal(r, gate)
        if other == gate then
          if reason ~= 'limit' or not take_back(gate, r.tp) then
            if when then
              wake_at(gate, when)
            end
            return left
          end
        elseif other then
          unwait(r)
          wait_at(r, other, reason, when)
          save(r)
          stays = true
        else
          local lonely = not waiting[at + 2]
          r.lonely = lonely
          become_queued(r, nil, 0)
          take(r, false, gate)
          hand_over(r)
          save(r)
          -- The only turn has the least number anyway, among those that come as well.
          if turns[2] and not lonely then
            call('ZADD', P .. K.turns .. gate, 'XX', digits(next_place()), turn)
          end
          if is_shut(gate, lonely and not turns[2]) then
            return left - 1
          end
          stays = not turns[2]
        end
      end
      at = at + 2
      if not stays or not waiting[at + 2] then
        turns, waiting = nil, nil
      end
      left = left - 1
    end
  end

  -- Looks at every gate that was woken.
  function G.open()
    local left, i = L.releases, 1
    while waking[i] do
      local gate = waking[i]
      woken[gate] = nil
      left = pass(gate, left)
      i = i + 1
    end
    waking, inside, unclaimed = {}, {}, {}
    if place then
      call('HSET', P .. K.shard, 'place', digits(place))
    end
    if released then
      nudge('relay')
      released = false
    end
  end

  return G
end
