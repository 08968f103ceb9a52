-- take_questions: an incarnation takes up what it is asked. What it took up and has not answered is handed out again.
-- KEYS  [1] prefix of the fleet's slot
-- ARGV  [1] nudge channel; instance/incarnation; most questions; ids of those that it knows (count first)
-- Answers, per question: {id, question (JSON), what is left of its time, ms}
local owner, most, known, answers = arg(), number(), {}, {}
for _, id in ipairs(list()) do
  known[id] = true
end
for _, id in ipairs(call('ZRANGEBYSCORE', P .. K.questions, '(' .. digits(now), '+inf')) do
  if #answers < most and not known[id] then
    local key = P .. K.question .. id
    local found = call('HMGET', key, owner, 'q', 'until')
    if found[2] and (found[1] == 'w' or found[1] == 'b') then
      call('HSET', key, owner, 'b')
      answers[#answers + 1] = {id, found[2], digits(tonumber(found[3]) - now)}
    end
  end
end
return answers
