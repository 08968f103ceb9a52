-- standings: how it stands with incarnations that were asked. Drops members whose lease ended, as a beat does; who is
-- gone and had not taken the question up cannot any more. Closing it keeps everybody from that, and from answering.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; id of the question; close it: 0 or 1; instance/incarnation of those asked (count first);
--       run id of the server
-- Answers {} when there is no such question, else {1, then for each: w waits, b began, s and what it said, g gone before
--   it took it up, G gone after that}
local id, close, of = arg(), number(), list()
local key = P .. K.question .. id
if call('EXISTS', key) == 0 then
  return {}
end
establish(drop_expired(spared_till(ARGV[#ARGV])))
local answers = {1}
for i, owner in ipairs(of) do
  local instance, incarnation = string.match(owner, '^([^/]*)/(.*)$')
  local state = call('HGET', key, owner) or 'w'
  if state == 'w' or state == 'b' then
    local here = instance and call('HGET', P .. K.incarnations, instance) == incarnation
    if not here then
      if state == 'w' then
        call('HSET', key, owner, 'g')
      end
      state = state == 'w' and 'g' or 'G'
    end
  end
  answers[i + 1] = state
end
if close == 1 then
  call('HSET', key, 'closed', 1)
  call('PEXPIRE', key, L.question_kept_ms)
  call('ZREM', P .. K.questions, id)
end
return answers
