-- published (T4): takes jobs out of the outbox whose publish was confirmed, if they still are `queued` in the same
-- generation, and remembers when that was.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per job: id, generation
-- Answers, per job: 1 when its generation is still the one that waits, else 0
local answers = {}
for i = 1, number() do
  local id, generation = arg(), number()
  local r = read(id)
  answers[i] = 0
  if r and r.st == 'queued' and r.ge == generation then
    put(r, 'ob', false)
    put(r, 'pb', now)
    save(r)
    answers[i] = 1
  end
end
flush()
return answers
