-- load: reads jobs at one moment, whole or only their hot records. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; `all` or `records`; count; ids
-- Answers {now, {per job: {} when there is none, {damaged, detail}, or {ok, record (names and values by turns), envelope, result, detail, log,
--   attempts, past reports}, the last six with `all` only}}
local whole, answers = arg() == 'all', {}
-- Not of the record.
local BESIDE = {id = true, was = true, out = true}
for i = 1, number() do
  local id = arg()
  local r, damage = read(id)
  local record = {}
  for name, value in pairs(r or record) do
    local kind = not BESIDE[name] and type(value)
    if kind == 'string' then
      record[#record + 1], record[#record + 2] = name, value
    elseif kind == 'number' then
      record[#record + 1], record[#record + 2] = name, digits(value)
    end
  end
  if damage then
    answers[i] = {'damaged', damage}
  elseif not r then
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
      quietly('LRANGE', P .. K.attempts .. id, 0, -1), r.at > 1 and quietly('HGETALL', P .. K.past .. id) or {},
    }
  end
end
return {now, answers}
