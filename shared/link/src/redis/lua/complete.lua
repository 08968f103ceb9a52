-- complete (T8 to T10, S07): ends the attempt of a token, once; the instance that runs it is told, and hears from its
-- renewal that the attempt is not its own any more. A repeat with the same mark answers `already`.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; id, fence, nonce, mark, verdict (succeeded, failed, fatal), message (`+` and text, or empty),
--       result (`+` and JSON, or empty), delay ms, reason, terms of a failure (see verdict.lua)
-- Answers {moved | already | stale, state} | {nothing} (the token is not that of the attempt) | {missing} |
--   {behind} (the record is older than the attempt) | {damaged, detail}
local id, fence, nonce, mark = arg(), number(), arg(), arg()
local item = {verdict = arg(), message = arg(), result = arg(), delay_ms = number(), reason = arg()}
item.terms = read_terms(arg())
local r, damage = read(id)
if damage then
  return {'damaged', damage}
elseif not r then
  return {'missing'}
elseif r.fe < fence and not TERMINAL[r.st] then
  return {'behind'}
elseif r.fe ~= fence then
  return {'stale', r.st}
elseif r.st ~= 'active' then
  return {r.no == mark and 'already' or 'stale', r.st}
elseif (r.no or '') ~= nonce then
  return {'nothing'}
end
decide(r, item)
-- Nobody needs the nonce any more; the mark tells a repeat from a second completion.
put(r, 'no', mark)
save(r)
nudge('stop ' .. id)
flush()
return {'moved', r.st}
