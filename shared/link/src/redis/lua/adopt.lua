-- adopt (T7b): takes a running attempt back into a store that has no record of its job, or one that is older than the
-- attempt, and puts it under a lease with the fence that it has. Repeating it answers the same.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; enqueued ms; fence, attempt, failures, crashes; nonce, generation, floor (unused), lease ms,
--       instance, incarnation; the job: see read_job in admit.lua (its start is ignored)
-- Answers {run, fence, attempt, failures, crashes, last} | {stale, state} | {ended, state} | {tombstone} |
--   {damaged, detail}
local enqueued, fence, attempt, failures, crashes = number(), number(), number(), number(), number()
local nonce, generation, _, lease_ms, instance, incarnation = arg(), number(), number(), number(), arg(), arg()
local r, against = from_message(read_job(), enqueued)
if not r then
  return against
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
if r.st == 'active' then
  index(K.state .. 'active', now + lease_ms, r.id)
end
r.fe, r.ge, r.at = fence, math.max(r.ge, generation), math.max(r.at, attempt)
r.fa, r.cr = math.max(r.fa, failures), math.max(r.cr, crashes)
lease_to(r, instance, incarnation, nonce, lease_ms)
save(r)
flush()
return run(r)
