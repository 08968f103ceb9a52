-- claim (T5): hands out an attempt of a queued job with a new, larger fence, and puts it under a lease. Repeating a
-- claim with the same owner and nonce answers the same fence. Clears what earlier attempts reported.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; owners (count; each: instance, incarnation, whether it offers to run a job alone); count; per claim: id, nonce, generation, floor,
--       lease ms, position of its owner
-- Answers, per claim: {run, fence, attempt, failures, crashes, last} | {busy, lease left ms} |
--   {waiting, state, left ms or -1} | {elsewhere, crashes} | {outdated, replaced} | {ended, state} | {unknown} | {tombstone} |
--   {damaged, detail}
local answers, owners = {}, {}
for i = 1, number() do
  owners[i] = {arg(), arg(), number() == 1}
end
for i = 1, number() do
  local id, nonce, generation, floor, lease_ms, owner = arg(), arg(), number(), number(), number(), owners[number()]
  local r, damage = read(id)
  if r then
    answers[i] = claim(r, owner[1], owner[2], owner[3], nonce, generation, floor, lease_ms)
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
