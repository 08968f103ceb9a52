-- matrix: writes the row of an instance in the topic matrix, if nobody else wrote it since. Repeating it after it was done
-- answers that it is done.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; instance; revision that must be there (0: none); row (JSON)
-- Answers {whether the row is there: 0 or 1, revision and row of what is there now (0: nothing)} | {2}: there are as many
--   rows as there may be
local instance, after, row = arg(), number(), arg()
local known = call('HGET', P .. K.matrix, instance)
local revision, text = 0, ''
if known then
  local digits_of, rest = string.match(known, '^(%d+) (.*)$')
  revision, text = tonumber(digits_of) or 0, rest or ''
end
if text == row then
  return {1, digits(revision), text}
elseif revision ~= after then
  return {0, digits(revision), text}
elseif not known and call('HLEN', P .. K.matrix) >= L.rows then
  return {2}
end
-- Larger than any before, also where an instance puts its row back into a store that lost it.
revision = math.max(now_us, (tonumber(call('HGET', P .. K.view, 'matrix') or nil) or 0) + 1, after + 1)
call('HSET', P .. K.matrix, instance, digits(revision) .. ' ' .. row)
call('HSET', P .. K.view, 'matrix', digits(revision))
if not call('ZSCORE', P .. K.seen, instance) then
  -- It may never have been here: it is forgotten as any other.
  call('ZADD', P .. K.seen, digits(now), instance)
end
nudge('matrix')
return {1, digits(revision), row}
