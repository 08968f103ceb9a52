-- remove (J12): drops jobs that have not ended, taking running ones away from their attempts; purges those that
-- have. Repeating it goes one step on (a job that the first call dropped is purged by the second), so a caller
-- repeats it only when it knows that the first was lost.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; ids
-- Answers, per job: {moved, state} | {purge} | {missing} | {damaged, detail}
local answers = {}
for i = 1, number() do
  local id = arg()
  local r, damage = read(id)
  if damage then
    answers[i] = {'damaged', damage}
  elseif not r then
    answers[i] = {'missing'}
  elseif TERMINAL[r.st] then
    purge(r)
    flush()
    answers[i] = {'purge'}
  else
    if r.st == 'active' then
      take_away(r)
      remember(r, 'removed', false)
      nudge('stop ' .. id)
    end
    finish_with(r, 'dropped', 'removed')
    save(r)
    answers[i] = {'moved', r.st}
  end
end
flush()
return answers
