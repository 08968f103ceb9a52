-- audit: records what an operator did, newest first, the last ones only. What one session does of one kind to one thing in
-- succession is one entry, whose counts add up.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; deed (JSON); run; action; of what; counts by turns: name, number (how many texts first)
-- Answers {ok}
local deed, run, action, of, counts = arg(), arg(), arg(), arg(), list()
local key = P .. K.audit
local head = call('LINDEX', key, 0)
local whole, last = pcall(cjson.decode, head or '')
if head and whole and type(last) == 'table' and last.run == run and last.action == action and (last.of or '') == of then
  last.counts = last.counts or {}
  for i = 1, #counts, 2 do
    last.counts[counts[i]] = (last.counts[counts[i]] or 0) + tonumber(counts[i + 1])
  end
  last['until'] = now
  if not next(last.counts) then
    last.counts = nil
  end
  call('LSET', key, 0, cjson.encode(last))
else
  call('LPUSH', key, '{"at":' .. digits(now) .. ',"until":' .. digits(now) .. ',' .. string.sub(deed, 2))
  call('LTRIM', key, 0, L.audit - 1)
end
return {'ok'}
