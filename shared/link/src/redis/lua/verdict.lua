-- What a verdict does to the job of a running attempt (T8 to T11), as `finish` in transition.rs. Shared by finish.lua
-- and complete.lua.
-- `item`: verdict, message (`+` and text, or empty), result (`+` and JSON, or empty); delay_ms and reason where the
-- verdict has them; outputs (JSON, empty or nil).
local function decide(r, item)
  local verdict, said, stopping = item.verdict, item.message ~= '' and item.message, r.cn
  if verdict == 'succeeded' then
    put(r, 'me', said)
    count_success(r.tp .. ' ' .. r.qu, now - (r.sa or now))
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
    remember(r, 'failed', said)
    put(r, 'fa', r.fa + 1)
    if r.mr >= 0 and r.fa > r.mr then
      finish_with(r, 'given_up', 'retries_exhausted')
      return
    end
    count_other(r.tp .. ' ' .. r.qu, L.slot_failed)
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
