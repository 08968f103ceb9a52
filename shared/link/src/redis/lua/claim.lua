-- claim (T5): hands out an attempt of a queued job with a new, larger fence, and puts it under a lease. Repeating a
-- claim with the same owner and nonce answers the same fence. Clears what earlier attempts reported.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; owners (count; each: instance, incarnation); count; per claim: id, nonce, generation, floor,
--       lease ms, position of its owner
-- Answers, per claim: {run, fence, attempt, failures, crashes, last} | {busy, lease left ms} |
--   {waiting, state, left ms or -1} | {outdated, replaced} | {ended, state} | {unknown} | {tombstone} |
--   {damaged, detail}
local answers, owners = {}, {}
for i = 1, number() do
  owners[i] = {arg(), arg()}
end
for i = 1, number() do
  local id, nonce, generation, floor, lease_ms, owner = arg(), arg(), number(), number(), number(), owners[number()]
  local r, damage = read(id)
  if r then
    answers[i] = claim(r, owner[1], owner[2], nonce, generation, floor, lease_ms)
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
