-- load: reads jobs at one moment, whole or only their hot records. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; `all` or `records`; count; ids
-- Answers {now, {per job: {} when there is none, {damaged, detail}, or {ok, record, envelope, result, detail, log,
--   attempts}, the last five with `all` only}}
local whole, answers = arg() == 'all', {}
for i = 1, number() do
  local id = arg()
  local record = try('HGETALL', P .. K.job .. id)
  if record.err then
    answers[i] = {'damaged', 'its record is not a hash'}
  elseif #record == 0 then
    answers[i] = {}
  elseif not whole then
    answers[i] = {'ok', record}
  else
    local function quietly(...)
      local answer = try(...)
      if type(answer) == 'table' and answer.err then
        return false
      end
      return answer
    end
    answers[i] = {
      'ok', record, quietly('GET', P .. K.envelope .. id), quietly('GET', P .. K.result .. id),
      quietly('HGETALL', P .. K.detail .. id), quietly('LRANGE', P .. K.log .. id, 0, -1),
      quietly('LRANGE', P .. K.attempts .. id, 0, -1),
    }
  end
end
return {now, answers}
