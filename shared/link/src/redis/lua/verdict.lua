-- What a verdict does to the job of a running attempt (T8 to T11), as `finish` in transition.rs. Shared by finish.lua
-- and complete.lua.

-- What holds for a failure beside its job's retries: kind, retries of that kind, and time for retries in ms, a line
-- each, empty where there is none; or an empty text.
local function read_terms(text)
  if text == '' then
    return {}
  end
  local kind, retries, retry_for = string.match(text, '^([^\n]*)\n([^\n]*)\n(.*)$')
  return {kind = kind ~= '' and kind or nil, retries = tonumber(retries), retry_for_ms = tonumber(retry_for)}
end

-- Counts a failure. Answers what is used up by it, if anything is.
local function charge(r, item)
  local terms = item.terms
  if terms.retry_for_ms and not r.ru then
    put(r, 'ru', (r.sa or now) + terms.retry_for_ms)
  end
  local count = terms.kind and terms.retries and add_kind(r, terms.kind)
  if count then
    if terms.retries >= 0 and count > terms.retries then
      return 'kind_retries_exhausted'
    end
  else
    put(r, 'fa', r.fa + 1)
    if r.mr >= 0 and r.fa > r.mr then
      return 'retries_exhausted'
    end
  end
  return r.ru and r.ru < now + item.delay_ms and 'retry_time_over' or nil
end

-- `item`: verdict, message (`+` and text, or empty), result (`+` and JSON, or empty); delay_ms and reason where the
-- verdict has them; outputs (JSON, empty or nil); terms (see above), with `failed`.
local function decide(r, item)
  local verdict, said, stopping = item.verdict, item.message ~= '' and item.message, r.cn
  if verdict == 'succeeded' then
    put(r, 'me', said)
    count_success(place_of_job(r.tp, r.qu), now - (r.sa or now))
    finish_with(r, 'succeeded', false)
    if item.result ~= '' then
      call('SET', P .. K.result .. r.id, string.sub(item.result, 2))
    end
    if item.outputs and item.outputs ~= '' then
      detail('HSET', P .. K.detail .. r.id, 'o', item.outputs)
    end
    return
  end
  put(r, 'me', said)
  if stopping then
    remember(r, 'stopped', said)
    finish_with(r, 'stopped', 'stop_requested')
  elseif verdict == 'failed' then
    remember(r, 'failed', said, item.terms.kind and ',"kind":' .. cjson.encode(item.terms.kind))
    local spent = charge(r, item)
    if spent then
      finish_with(r, 'given_up', spent)
      return
    end
    count_other(place_of_job(r.tp, r.qu), L.slot_failed)
    if item.delay_ms == 0 then
      enter_queued(r, 'failed', L.outbox_grace_ms)
    else
      wait_until(r, 'retrying', 'failed', item.delay_ms)
    end
  elseif verdict == 'fatal' then
    remember(r, 'error', said)
    finish_with(r, 'error', item.reason)
  else
    remember(r, item.reason, said)
    if item.delay_ms == 0 then
      enter_queued(r, item.reason, L.outbox_grace_ms)
    else
      wait_until(r, 'scheduled', item.reason, item.delay_ms)
    end
  end
end
