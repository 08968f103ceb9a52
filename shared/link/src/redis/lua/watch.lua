-- watch: registers a process as a watcher of jobs that have not ended (bounded per job), and answers their states.
-- When such a job ends, its id is published on the watcher's channel. Repeating it changes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; watcher, with `+` behind it if it follows every change; count; ids
-- Answers, per job: its state, or empty when there is none (or it cannot be read)
local watcher, answers = arg(), {}
for i = 1, number() do
  local r = read(arg())
  answers[i] = r and r.st or ''
  if r and not TERMINAL[r.st] then
    local others = 0
    for other in string.gmatch(r.wa or '', '%S+') do
      others = others + 1
      if other == watcher then
        others = L.watchers
      end
    end
    if others < L.watchers then
      put(r, 'wa', r.wa and (r.wa .. ' ' .. watcher) or watcher)
      save(r)
    end
  end
end
flush()
return answers
