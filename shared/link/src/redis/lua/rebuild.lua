-- rebuild (T6): makes a job from the envelope of a delivery that the store does not know, and claims it. A job that
-- is known by now is only claimed. Refused where a tombstone tells that it ended, and where it is so old that its
-- tombstone may be gone, unless it was accepted in a span in which the store may have lost it.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; enqueued ms; nonce, generation, floor, lease ms, instance, incarnation,
--       whether it offers to run the job alone; the job: see read_job in admit.lua (its start is ignored); at the end
--       the run id of the server
-- Answers as claim, or {orphan}
local enqueued, nonce, generation, floor, lease_ms = number(), arg(), number(), number(), number()
local instance, incarnation, alone = arg(), arg(), number() == 1
local r, against = from_message(read_job(), enqueued, function()
  return too_old(ARGV[#ARGV], enqueued)
end)
if not r then
  return against
end
local answer = claim(r, instance, incarnation, alone, nonce, generation, floor, lease_ms)
flush()
return answer
