-- stop (T15, T16): stops waiting jobs; asks running ones, whose next renewal hears it (and a nudge, sooner).
-- Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; who asks (`+` and text); count; ids
-- Answers, per job: {moved, state} | {asked} | {ended, state} | {missing} | {damaged, detail}
local by, answers = arg(), {}
for i = 1, number() do
  local id = arg()
  local r, damage = read(id)
  if damage then
    answers[i] = {'damaged', damage}
  elseif not r then
    answers[i] = {'missing'}
  elseif TERMINAL[r.st] then
    answers[i] = {'ended', r.st}
  elseif r.st == 'active' then
    if not r.cn then
      put(r, 'cn', by)
      save(r)
    end
    nudge('stop ' .. id)
    answers[i] = {'asked'}
  else
    put(r, 'me', by)
    finish_with(r, 'stopped', 'stop_requested')
    save(r)
    answers[i] = {'moved', r.st}
  end
end
flush()
return answers
