-- finish (T8 to T11): ends an attempt with its verdict, result, outputs, last reports and follow-up jobs: all of one
-- item or nothing. Only the attempt that holds the fence can; the same finish again answers `already`, with the
-- follow-up jobs' answers.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per item: id, fence, verdict (succeeded, failed, fatal, released), message (`+` and
--       text, or empty), result (`+` and JSON, or empty), how much more there is: 0, or 1 and delay ms, reason, terms
--       of a failure (see verdict.lua), outputs (JSON, or empty), report (progress, properties, log: counts first), count of follow-up jobs, these as
--       in admit.lua
-- Answers, per item: {moved | already, state, generation, {follow-up answers}} | {stale, state, generation} |
--   {missing} (or older than the attempt) | {damaged, detail}; behind them, where any were let through, {outgoing...}
local function follow(item)
  local answers = {}
  if item.verdict == 'succeeded' and item.follow_ups then
    for i, job in ipairs(item.follow_ups) do
      answers[i] = admit(job)
    end
  end
  return answers
end

local answers = {}
handed = {bytes = 0}
for i = 1, number() do
  local item = {id = arg(), fence = number(), verdict = arg(), message = arg(), result = arg()}
  if arg() == '1' then
    item.delay_ms, item.reason, item.terms, item.outputs = number(), arg(), read_terms(arg()), arg()
    item.report, item.follow_ups = read_report(), {}
    for j = 1, number() do
      item.follow_ups[j] = read_job()
    end
  end
  local r, damage = read(item.id)
  if damage then
    answers[i] = {'damaged', damage}
  elseif not r or r.fe < item.fence and not TERMINAL[r.st] then
    answers[i] = {'missing'}
  elseif r.fe ~= item.fence then
    answers[i] = {'stale', r.st, r.ge}
  elseif r.st ~= 'active' then
    answers[i] = {'already', r.st, r.ge, r.st == 'succeeded' and follow(item) or {}}
  else
    decide(r, item)
    if item.report then
      write_report(r, item.report)
    end
    save(r)
    answers[i] = {'moved', r.st, r.ge, follow(item)}
  end
end
flush()
if handed[1] then
  answers[#answers + 1] = handed
end
return answers
