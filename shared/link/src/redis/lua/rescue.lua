-- rescue (T12): takes attempts whose lease ended away from their owners, oldest first, and requeues or ends their
-- jobs. Does nothing during an amnesty, nor between a restart of the server and the first beat after it, nor while the
-- last beat of anybody is two beats old: whoever beats first finds out whether all of them stood still. What may be
-- published at once is handed out; the outbox is the net for it and the way for the rest.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit; most bytes to hand out; two beats, ms; run id of the server
-- Answers {now, {outgoing...}, ended, more}; outgoing = {id, topic, generation, fence, created, envelope}
local limit, most, gap, run = number(), number(), number(), ARGV[#ARGV]
local known = call('HMGET', P .. K.shard, 'run', 'amnesty', 'beat')
local restarted = run ~= '' and known[1] and known[1] ~= run
local quiet = now - (tonumber(known[3] or nil) or -math.huge) > gap
if restarted or quiet or (tonumber(known[2] or nil) or 0) > now then
  return {now, {}, 0, 0}
end
local SAID = 'its process went away without a verdict'
local BACKOFF_MS = {0, 1000, 5000}

local function lease_gone(r)
  take_away(r)
  put(r, 'cr', r.cr + 1)
  remember(r, 'crashed', '+' .. SAID)
  put(r, 'me', '+' .. SAID)
  if r.cn then
    finish_with(r, 'stopped', 'stop_requested')
  elseif r.cr >= r.mc then
    finish_with(r, 'given_up', 'crashes_exhausted')
  else
    -- The rescuer publishes a first crash itself, at once.
    local wait = r.cr <= 1 and L.outbox_grace_ms or (BACKOFF_MS[r.cr] or 30000)
    enter_queued(r, 'crashed', wait)
  end
  save(r)
end

local due = call('ZRANGEBYSCORE', P .. K.state .. 'active', '-inf', digits(now), 'LIMIT', 0, limit + 1)
local runnable, ended, more, bytes = {}, 0, 0, 0
for i, id in ipairs(due) do
  if i > limit or bytes >= most then
    more = 1
    break
  end
  local r, damage = read(id)
  if not r or r.st ~= 'active' then
    shelve(K.state .. 'active', id, damage)
  elseif r.le > now then
    index(K.state .. 'active', r.le, id)
  else
    lease_gone(r)
    if r.st ~= 'queued' then
      ended = ended + 1
    elseif r.cr <= 1 then
      local size
      runnable[#runnable + 1], size = outgoing(r)
      bytes = bytes + size
    end
  end
end
flush()
return {now, runnable, ended, more}
