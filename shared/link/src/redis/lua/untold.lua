-- untold: hands out what happened to jobs without a process that tells it, oldest first, each once. What is too old to be
-- told is forgotten.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; limit
-- Answers what happened, the job's id and when (ms), by turns
local answers = {}
for _, entry in ipairs(call('LPOP', P .. K.untold, number()) or {}) do
  local at, kind, id = string.match(entry, '^(%d+) (%l+) (.+)$')
  if at and tonumber(at) + L.untold_ms >= now then
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = kind, id, at
  end
end
return answers
