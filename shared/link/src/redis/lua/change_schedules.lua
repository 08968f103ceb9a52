-- change_schedules: exchanges schedules that nobody else has changed, and accepts the jobs that go with it. Per item all
-- of it or nothing, but for jobs before one that is refused.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per item: name, revision (0: there must be none, -1: whatever there is), job and
--   `open`, `ended` or `any` (what that must be), `put`, `remove` or `shelve`, due (ms, or -1), definition, last job,
--   count of jobs, and per job see read_job in admit.lua
-- Answers, per item: {done, {per job as `enqueue`}} | {differs} | {refused, job, as `enqueue`} | {full}
local first = first_schedule()

local function change(item)
  local z, damage = read_schedule(item.name)
  if item.rev >= 0 and (damage or item.rev ~= (z and z.rev or 0)) then
    return {'differs'}
  end
  if item.open ~= 'any' and is_open(item.job) ~= (item.open == 'open') then
    return {'differs'}
  end
  local key = P .. K.schedule .. item.name
  if item.kind == 'shelve' then
    shelve(K.schedules_due, item.name, true)
    return {'done', {}}
  end
  if item.kind == 'put' and not z and call('ZCARD', P .. K.schedules) >= L.schedules then
    return {'full'}
  end
  local answers = {}
  for i, job in ipairs(item.jobs) do
    answers[i] = admit(job)
    local said = answers[i][1]
    -- The job of a slot that has ended, or was removed, is not to run again.
    if said ~= 'ok' and said ~= 'ended' and said ~= 'taken' then
      return {'refused', job.id, answers[i]}
    end
  end
  if item.kind == 'put' then
    local rev = math.max((z and z.rev or 0) + 1, now_us)
    call('HSET', key, 'rev', digits(rev), 'def', item.def, 'last', item.last)
    call('ZADD', P .. K.schedules, 0, item.name)
    if item.due >= 0 then
      call('ZADD', P .. K.schedules_due, digits(item.due), item.name)
    else
      call('ZREM', P .. K.schedules_due, item.name)
    end
  else
    call('UNLINK', key)
    call('ZREM', P .. K.schedules, item.name)
    call('ZREM', P .. K.schedules_due, item.name)
  end
  return {'done', answers}
end

local answers = {}
for i = 1, number() do
  local item = {
    name = arg(), rev = number(), job = arg(), open = arg(), kind = arg(), due = number(), def = arg(), last = arg(),
    jobs = {},
  }
  for j = 1, number() do
    item.jobs[j] = read_job()
  end
  answers[i] = change(item)
end
flush()
local head = first_schedule()
if head and (not first or head < first) then
  nudge('schedules')
end
return answers
