-- adopt (T7b): takes a running attempt back into a store that has no record of its job, or one that is older than the
-- attempt, and puts it under a lease with the fence that it has. Repeating it answers the same.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; enqueued ms; fence, attempt, failures, crashes; nonce, generation, floor (unused), lease ms,
--       instance, incarnation; the job: see read_job in admit.lua (its start is ignored)
-- Answers {run, fence, attempt, failures, crashes, last} | {stale, state} | {ended, state} | {tombstone} |
--   {damaged, detail}
local enqueued, fence, attempt, failures, crashes = number(), number(), number(), number(), number()
local nonce, generation, _, lease_ms, instance, incarnation = arg(), number(), number(), number(), arg(), arg()
local job = read_job()
local r, damage = read(job.id)
if damage then
  return {'damaged', damage}
end
if not r then
  if entombed(job.id) then
    return {'tombstone'}
  end
  job.start = 'now'
  create(job, math.min(enqueued, now))
  flush()
  r = read(job.id)
end
if TERMINAL[r.st] then
  return {'ended', r.st}
end
if r.fe >= fence then
  if r.st ~= 'active' or r.fe ~= fence or r.oi ~= instance or r.oc ~= incarnation then
    return {'stale', r.st}
  end
  return run(r)
end
local lease = now + lease_ms
if r.st == 'active' then
  index(K.state .. 'active', lease, job.id)
end
put(r, 'st', 'active')
put(r, 're', false)
put(r, 'fe', fence)
put(r, 'ge', math.max(r.ge, generation))
put(r, 'at', math.max(r.at, attempt))
put(r, 'fa', math.max(r.fa, failures))
put(r, 'cr', math.max(r.cr, crashes))
put(r, 'oi', instance)
put(r, 'oc', incarnation)
put(r, 'no', nonce ~= '' and nonce)
put(r, 'si', now)
put(r, 'sa', now)
put(r, 'le', lease)
put(r, 'me', false)
r.du, r.ob, r.pb, r.hi = nil, nil, nil, nil
save(r)
flush()
return run(r)
