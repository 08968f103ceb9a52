-- restore (T6, without the claim): makes jobs of copies that somebody found in the broker, where the store knows
-- nothing of them. Refused as rebuild refuses. Repeating it answers `known`.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; 1 to answer only what would be; count; per job: enqueued ms, generation of the copy that the
--       broker holds (0: it holds none), fence, the job: see read_job in admit.lua; at the end the run id of the server
-- Answers, per job: {made | known, state} | {tombstone} | {orphan} | {topics} | {damaged, detail}
local dry, answers = arg() == '1', {}
local function restore(enqueued, generation, fence, job)
  local r, against = at_hand(job.id, function()
    return too_old(ARGV[#ARGV], enqueued)
  end)
  if r then
    return {'known', r.st}
  elseif against then
    return against
  elseif too_many(job.topic) then
    return {'topics'}
  elseif dry then
    return {'made', job.start == 'at' and job.start_ms > now and 'scheduled' or 'queued'}
  end
  create(job, math.min(enqueued, now))
  flush()
  r = read(job.id)
  put(r, 'fe', fence)
  if r.st == 'queued' and generation > 0 then
    put(r, 'ge', math.max(r.ge, generation))
    put(r, 'pb', now)
    put(r, 'ob', nil)
  end
  save(r)
  return {'made', r.st}
end

for i = 1, number() do
  local enqueued, generation, fence = number(), number(), number()
  answers[i] = restore(enqueued, generation, fence, read_job())
end
flush()
return answers
