-- claim (T5): hands out an attempt of a queued job with a new, larger fence, and puts it under a lease. Repeating a
-- claim with the same owner and nonce answers the same fence. Clears what earlier attempts reported.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per claim: id, nonce, generation, floor, lease ms, instance, incarnation
-- Answers, per claim: {run, fence, attempt, failures, crashes} | {busy, lease left ms} |
--   {waiting, state, left ms or -1} | {outdated} | {ended, state} | {unknown} | {tombstone} | {damaged, detail}
local answers = {}
for i = 1, number() do
  local id, nonce, generation, floor, lease_ms = arg(), arg(), number(), number(), number()
  local instance, incarnation = arg(), arg()
  local r, damage = read(id)
  if r then
    answers[i] = claim(r, instance, incarnation, nonce, generation, floor, lease_ms)
  elseif damage then
    answers[i] = {'damaged', damage}
  elseif entombed(id) then
    answers[i] = {'tombstone'}
  else
    answers[i] = {'unknown'}
  end
end
flush()
return answers
