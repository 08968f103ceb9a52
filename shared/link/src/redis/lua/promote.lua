-- promote (T13, T14): makes jobs runnable whose time has come (a delay, a snooze, a back-off), earliest first, and looks
-- at gates that may be open by now. Due jobs are handed out to be published at once, the outbox is their net; what gates
-- let through is in the outbox.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; most bytes to hand out
-- Answers {now, {outgoing...}, when the next one is due (ms, or -1), more}
local limit, most = number(), number()
local due = {}
for _, state in ipairs({'scheduled', 'retrying'}) do
  local found = call('ZRANGEBYSCORE', P .. K.state .. state, '-inf', digits(now), 'WITHSCORES', 'LIMIT', 0, limit + 1)
  for i = 1, #found, 2 do
    due[#due + 1] = {id = found[i], at = tonumber(found[i + 1]), state = state}
  end
end
table.sort(due, function(a, b)
  return a.at < b.at or (a.at == b.at and a.id < b.id)
end)
local runnable, more, bytes = {}, 0, 0
for i, entry in ipairs(due) do
  if i > limit or bytes >= most then
    more = 1
    break
  end
  local r, damage = read(entry.id)
  if not r or r.st ~= entry.state then
    shelve(K.state .. entry.state, entry.id, damage)
  elseif r.du > now then
    index(K.state .. entry.state, r.du, entry.id)
  else
    enter_queued(r, r.re == 'failed' and 'failed', L.outbox_grace_ms)
    save(r)
    if r.st == 'queued' then
      local size
      runnable[#runnable + 1], size = outgoing(r)
      bytes = bytes + size
    end
  end
end
for _, gate in ipairs(call('ZRANGEBYSCORE', P .. K.wake, '-inf', digits(now), 'LIMIT', 0, L.releases)) do
  call('ZREM', P .. K.wake, gate)
  gates().wake(gate)
end
flush()
local first = first_due()
return {now, runnable, first or -1, first and first <= now and 1 or more}
