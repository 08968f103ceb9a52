-- What the store may have lost. An epoch begins with the first renewal or rebuild that finds the store empty, on
-- another server process, or behind what the caller had known; the span that ended with it is remembered, since what
-- was accepted in it may be missing.
--
-- Keys (see names.rs): K.shard hash: epoch, tick, run, beat, lease, keys_from; K.losses hash: epoch -> JSON {kind, from, to, tick (of the
-- store, when the epoch began), held, before}.

-- Written by hand: an encoder would write large numbers with an exponent.
local function keep_loss(epoch, loss)
  local before, told = loss.before, ''
  if before then
    local counts = {}
    for i, name in ipairs({'epoch', 'tick', 'scheduled', 'retrying', 'queued', 'active', 'blocked'}) do
      counts[i] = '"' .. name .. '":' .. digits(before[name] or 0)
    end
    told = ',"before":{' .. table.concat(counts, ',') .. '}'
  end
  if loss.tick then
    told = ',"tick":' .. digits(loss.tick) .. ',"held":' .. tostring(loss.held or false) .. told
  end
  call('HSET', P .. K.losses, digits(epoch), '{"kind":"' .. loss.kind .. '","from":' .. digits(loss.from)
    .. ',"to":' .. digits(loss.to) .. told .. '}')
end

-- `lease` (ms): what was there before may have had unique keys, of which no new ones are given for a while.
local function begin_epoch(before, seen, kind, from, tick, lease)
  local epoch = math.max(now_us, before + 1, seen + 1)
  call('HSET', P .. K.shard, 'epoch', digits(epoch))
  if lease then
    call('HSET', P .. K.shard, 'keys_from', digits(now + math.max(lease, L.keys_wait_ms)))
  end
  keep_loss(epoch, {kind = kind, from = from, to = now, tick = tick})
  local epochs = call('HKEYS', P .. K.losses)
  if #epochs > L.losses then
    table.sort(epochs)
    call('HDEL', P .. K.losses, epochs[1])
  end
  return epoch
end

-- Pauses everything after the store went back by so many us, as from a backup: what it says is queued may have run
-- since. Whoever looked at it ends the pause.
local function hold_all(lag)
  if call('HEXISTS', P .. K.pauses, 'all') == 0 then
    local why = 'the store went back by ' .. digits(math.floor(lag / 1000000))
      .. ' s, as from a backup: jobs that ran since would run again'
    call('HSET', P .. K.pauses, 'all', cjson.encode({by = 'longshore', why = why, since = now}))
  end
end

-- A renewal by a process that had known `seen` (epoch, tick, counts; zeros: nothing), before `amnesty` learns of the
-- server's run id. Answers epoch and tick now, and how the epoch began.
local function renewed(run, seen, lease)
  local known = call('HMGET', P .. K.shard, 'epoch', 'tick', 'run', 'beat')
  local epoch, tick = tonumber(known[1] or nil) or 0, tonumber(known[2] or nil) or 0
  local margin = math.max((tonumber(known[4] or nil) or 0) - L.loss_margin_ms, 0)
  if epoch == 0 then
    epoch = begin_epoch(epoch, seen.epoch, 'wiped', 0, nil, seen.epoch > 0 and lease)
  elseif seen.epoch == epoch and seen.tick > tick then
    epoch = begin_epoch(epoch, seen.epoch, 'rolled_back', margin, tick, lease)
  elseif run ~= '' and known[3] and known[3] ~= run then
    epoch = begin_epoch(epoch, seen.epoch, 'restarted', margin, tick, lease)
  end
  tick = math.max(now_us, tick + 1, seen.tick + 1)
  call('HSET', P .. K.shard, 'tick', digits(tick), 'lease', digits(lease))
  local kept = call('HGET', P .. K.losses, digits(epoch))
  local loss = kept and cjson.decode(kept) or {kind = 'wiped'}
  if kept and seen.epoch > 0 and seen.epoch ~= epoch then
    -- Somebody else, who knew nothing of it, may have begun the epoch.
    local lag = loss.tick and seen.tick - loss.tick or 0
    local hold = lag > L.rollback_ms * 1000 and not loss.held
    if hold then
      loss.kind, loss.held = 'rolled_back', true
      hold_all(lag)
    end
    local more = not loss.before or loss.before.scheduled < seen.scheduled
    if more then
      loss.before = seen
    end
    if hold or more then
      keep_loss(epoch, loss)
    end
  end
  return epoch, tick, loss.kind
end

-- Whether a job that was accepted then may have been lost.
local function may_be_lost(run, accepted)
  local known = call('HMGET', P .. K.shard, 'epoch', 'run', 'beat')
  if not known[1] then
    begin_epoch(0, 0, 'wiped', 0)
  elseif run ~= '' and known[2] and known[2] ~= run and accepted + L.loss_margin_ms >= (tonumber(known[3] or nil) or 0) then
    return true
  end
  for _, kept in ipairs(call('HVALS', P .. K.losses)) do
    local loss = cjson.decode(kept)
    if loss.from <= accepted and accepted <= loss.to then
      return true
    end
  end
  return false
end

-- What stands against making a job anew that was accepted then: its tombstone may be gone, and it was not lost.
local function too_old(run, accepted)
  return not may_be_lost(run, accepted) and now - accepted > L.tombstone_ms and {'orphan'} or nil
end
